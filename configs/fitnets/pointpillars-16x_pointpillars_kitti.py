# The student imitates the teacher's BEV map at the objects; default weight, not tuned on KITTI.
_base_ = '../_base_/pairs/pointpillars-16x_pointpillars_kitti.py'
model = dict(method=dict(type='fitnets'))
