# Where each channel of the BEV map lies; the method's default weight, not tuned on KITTI.
_base_ = '../_base_/pairs/centerpoint-pillar-4x_centerpoint-pillar_kitti.py'
model = dict(method=dict(type='cwd'))
