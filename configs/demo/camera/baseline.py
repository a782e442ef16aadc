# The camera student alone; LiDAR points supervise its depth, as that of the distilled one.
_base_ = './_base_.py'
model = dict(type='Distiller', student=dict(config='kd3d::_base_/models/bevdet_small_demo.py'))
