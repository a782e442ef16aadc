# The camera student alone; LiDAR points supervise its depth, as that of the distilled one. Its image side
# begins with the weights of images.py.
_base_ = './_base_.py'
model = dict(
    type='Distiller',
    student=dict(config='kd3d::_base_/models/bevdet_shared_demo.py'),
    inherit=[_base_.image_weights])
