# PointRCNN on KITTI, as mmdet3d trains it (and PointDistiller its students): AdamW, the rate rises
# from 1e-3 to 1e-2 over 35 of 80 epochs and falls to 1e-7. For 8 GPUs x 2 frames;
# auto_scale_lr.enable=True adapts the rate to others.
lr = 0.001
epochs = 80
rise = 35
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=lr, betas=(0.95, 0.85), weight_decay=0.01),
    clip_grad=dict(max_norm=10, norm_type=2))
param_scheduler = [
    dict(
        type='CosineAnnealingLR', T_max=rise, eta_min=lr * 10, begin=0, end=rise,
        by_epoch=True, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', T_max=epochs - rise, eta_min=lr * 1e-4, begin=rise, end=epochs,
        by_epoch=True, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingMomentum', T_max=rise, eta_min=0.85 / 0.95, begin=0, end=rise,
        by_epoch=True, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingMomentum', T_max=epochs - rise, eta_min=1, begin=rise, end=epochs,
        by_epoch=True, convert_to_iter_based=True)
]
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=2)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(enable=False, base_batch_size=16)
