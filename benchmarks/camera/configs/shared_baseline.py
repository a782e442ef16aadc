# The student whose map encoder and head are the LiDAR teacher's in shape; it begins with the weights of
# images.py, as every student. 4 epochs of batch 2: 1,200 steps.
_base_ = './_base_.py'
epochs = 4
train_cfg = dict(max_epochs=epochs)
param_scheduler = dict(total_steps=epochs)
model = dict(
    type='Distiller',
    student=dict(config='kd3d::_base_/models/bevdet_shared_demo.py'),
    inherit=[_base_.image_weights])
