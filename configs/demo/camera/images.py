# The image side of the students learns the depth of LiDAR points, without labels; both begin with it.
_base_ = './_base_.py'
epochs = 10
train_cfg = dict(max_epochs=epochs)
param_scheduler = dict(total_steps=epochs)
model = dict(type='Distiller', student=dict(config='kd3d::_base_/models/depth_small_demo.py'))
