# Simulated KITTI, 320 training frames, 12 epochs of batch 4: 960 steps.
_base_ = '../../../configs/demo/_base_.py'
seeded_data = True
epochs = 12
train_cfg = dict(max_epochs=epochs)
param_scheduler = dict(total_steps=epochs)
default_hooks = dict(checkpoint=dict(interval=6))
test_dataloader = dict(dataset=dict(ann_file='kitti_infos_held.pkl'))
