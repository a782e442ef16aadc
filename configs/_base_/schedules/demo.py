# Minutes on two CPU cores: AdamW, one cycle, no validation in between.
val_cfg = None
test_cfg = dict()
epochs = 8
lr = 4e-3
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=lr, betas=(0.9, 0.99), weight_decay=0.01),
    clip_grad=dict(max_norm=10, norm_type=2))
param_scheduler = dict(
    type='OneCycleLR', eta_max=lr, pct_start=0.3, total_steps=epochs, by_epoch=True,
    convert_to_iter_based=True)
