# The student's network, trained four times as long from nothing: a camera teacher, and the weights with which
# every student's images begin, as others begin with ImageNet's. 8 epochs of batch 2: 2,400 steps.
_base_ = './_base_.py'
epochs = 8
train_cfg = dict(max_epochs=epochs)
param_scheduler = dict(total_steps=epochs)
model = dict(type='Distiller', student=dict(config='kd3d::_base_/models/bevdet_small_demo.py'))
