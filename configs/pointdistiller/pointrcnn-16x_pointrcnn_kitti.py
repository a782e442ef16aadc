# As pointrcnn-8x, the student with 32 channels at the points.
_base_ = './pointrcnn-8x_pointrcnn_kitti.py'
model = dict(
    student=dict(shrink=dict(width=32 / 128)), method=dict(channels=32))
