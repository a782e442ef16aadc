# The student imitates the teacher's BEV map at the objects; default weight, not tuned on KITTI.
_base_ = '../_base_/pairs/second-4x_second_kitti.py'
model = dict(method=dict(type='fitnets'))
