# The BEV map at the objects, beside them and as a whole;
# the method's default weight, not tuned on KITTI.
_base_ = '../_base_/pairs/centerpoint-pillar-4x_centerpoint-pillar_kitti.py'
model = dict(method=dict(type='fgd'))
