# The teacher's BEV map generated from the student's masked one;
# the method's default weight, not tuned on KITTI.
_base_ = '../_base_/pairs/centerpoint-pillar-4x_centerpoint-pillar_kitti.py'
model = dict(method=dict(type='mgd'))
