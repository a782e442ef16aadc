# Fusion to LiDAR; the paper's weights for raw maps are 10, 1, 10, here all are 1, not tuned.
_base_ = '../_base_/pairs/centerpoint-pillar-4x_bevfusion-r50_nus.py'
model = dict(method=dict(type='unidistill', route='fusion_to_lidar'))
