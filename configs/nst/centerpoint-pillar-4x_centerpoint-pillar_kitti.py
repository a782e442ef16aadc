# How the channels of the BEV map are distributed; weight 50 as published, not tuned on KITTI.
_base_ = '../_base_/pairs/centerpoint-pillar-4x_centerpoint-pillar_kitti.py'
model = dict(method=dict(type='nst'))
