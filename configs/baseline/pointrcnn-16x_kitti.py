# The compact student alone: 32 of the teacher's 128 channels, about 16 times fewer parameters.
_base_ = '../teachers/pointrcnn_kitti.py'
model = dict(student=dict(shrink=dict(width=32 / 128, divisor=1)))
