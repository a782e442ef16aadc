# The last map near objects, between two LiDAR models. The paper's image term needs cameras.
_base_ = '../_base_/pairs/centerpoint-pillar-4x_centerpoint-pillar_kitti.py'
model = dict(method=dict(type='focaldistiller'))
