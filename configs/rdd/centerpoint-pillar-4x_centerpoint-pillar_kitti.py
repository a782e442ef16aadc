# A reconstruction from the paper's description, which has no code; weights as they come.
_base_ = '../_base_/pairs/centerpoint-pillar-4x_centerpoint-pillar_kitti.py'
model = dict(method=dict(type='rdd'))
