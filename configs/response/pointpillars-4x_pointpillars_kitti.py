# The student learns from the teacher's head; the method's default weights, not tuned on KITTI.
_base_ = '../_base_/pairs/pointpillars-4x_pointpillars_kitti.py'
model = dict(method=dict(type='response'))
