# BEVDet's on nuScenes: 24 epochs of AdamW, the rate falls tenfold after 16 and 22. For 8 GPUs x 8
# frames; auto_scale_lr.enable=True adapts the rate to another batch.
epochs = 24
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-4, weight_decay=1e-2),
    clip_grad=dict(max_norm=5, norm_type=2))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=200),
    dict(type='MultiStepLR', milestones=[16, 22], gamma=0.1, by_epoch=True, begin=0, end=epochs)
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=epochs)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(enable=False, base_batch_size=64)
