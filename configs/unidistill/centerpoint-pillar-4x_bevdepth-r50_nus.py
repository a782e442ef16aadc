# Camera to LiDAR; the paper's weights for raw maps are 10, 5, 1, here all are 1, not tuned.
_base_ = '../_base_/pairs/centerpoint-pillar-4x_bevdepth-r50_nus.py'
model = dict(method=dict(type='unidistill', route='camera_to_lidar'))
