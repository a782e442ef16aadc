# 1.05 million parameters, 24 epochs.
_base_ = './_base_.py'
lr = 2.5e-3
epochs = 24
train_cfg = dict(max_epochs=epochs)
model = dict(
    type='Distiller',
    student=dict(config='kd3d::_base_/models/centerpoint_pillar04_demo.py'))
optim_wrapper = dict(optimizer=dict(lr=lr))
param_scheduler = dict(eta_max=lr, total_steps=epochs)
