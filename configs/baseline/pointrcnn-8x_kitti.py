# The compact student alone: 45 of the teacher's 128 channels, about 8 times fewer parameters.
_base_ = '../teachers/pointrcnn_kitti.py'
model = dict(student=dict(shrink=dict(width=45 / 128, divisor=1)))
