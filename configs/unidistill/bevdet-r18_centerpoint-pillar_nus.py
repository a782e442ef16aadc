# LiDAR to camera with features, relations and responses at points of objects. The paper's weights
# (100, 40, 10) are for raw maps; the defaults are 1, not tuned on nuScenes.
_base_ = '../_base_/pairs/bevdet-r18_centerpoint-pillar_nus.py'
model = dict(method=dict(type='unidistill'))
