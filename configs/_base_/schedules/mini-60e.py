# For v1.0-mini's 323 frames on one device: 60 epochs of 4 frames a step, 4,860 steps. step-24e's rate
# is for 64 frames a step; this one is between its square root and its line. Not tuned.
epochs = 60
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=4e-5, weight_decay=1e-2),
    clip_grad=dict(max_norm=5, norm_type=2))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=200),
    dict(type='MultiStepLR', milestones=[40, 55], gamma=0.1, by_epoch=True, begin=0, end=epochs)
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=epochs)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(enable=False, base_batch_size=4)
