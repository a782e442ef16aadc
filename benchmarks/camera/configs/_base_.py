# Simulated nuScenes: 120 drives of 5 samples train, 40 are held. 2 epochs of batch 2: 600 steps.
_base_ = '../../../configs/demo/camera/_base_.py'
epochs = 2
train_cfg = dict(max_epochs=epochs)
param_scheduler = dict(total_steps=epochs)
default_hooks = dict(checkpoint=dict(interval=1))
image_weights = dict(
    teacher=dict(
        config='benchmarks/camera/configs/images.py',
        checkpoint='work_dirs/camera/images/student.pth'))
