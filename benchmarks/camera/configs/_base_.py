# Simulated nuScenes: eight drives of 40 samples train, two are held. 4 epochs of batch 2: 640 steps.
_base_ = '../../../configs/demo/camera/_base_.py'
epochs = 4
train_cfg = dict(max_epochs=epochs)
param_scheduler = dict(total_steps=epochs)
default_hooks = dict(checkpoint=dict(interval=1))
