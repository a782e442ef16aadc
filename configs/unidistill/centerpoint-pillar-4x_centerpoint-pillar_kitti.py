# Features, relations and responses at points of objects, between two LiDAR models. The paper's
# weights (100, 40, 10 from LiDAR to camera) are for raw maps; the defaults are 1, not tuned on KITTI.
_base_ = '../_base_/pairs/centerpoint-pillar-4x_centerpoint-pillar_kitti.py'
model = dict(method=dict(type='unidistill'))
