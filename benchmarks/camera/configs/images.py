# The image side of the student learns the depth of LiDAR points, without labels: the weights with which
# every student's images begin, as others begin with ImageNet's. 4 epochs of batch 2: 1,200 steps.
_base_ = './_base_.py'
epochs = 4
train_cfg = dict(max_epochs=epochs)
param_scheduler = dict(total_steps=epochs)
model = dict(type='Distiller', student=dict(config='kd3d::_base_/models/depth_small_demo.py'))
