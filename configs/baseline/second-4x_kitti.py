# The compact student alone: half the teacher's channels, about 4 times fewer parameters.
_base_ = '../teachers/second_kitti.py'
model = dict(student=dict(shrink=dict(width=0.5)))
