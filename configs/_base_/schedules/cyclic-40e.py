# CenterPoint: mmdet3d trains it on nuScenes for 20 class-balanced epochs with AdamW, the rate
# rising from 1e-4 to 1e-3 over 40 % and falling to 1e-8. It has no such config for KITTI: we keep
# its optimizer, and take 40 epochs with RepeatDataset x 2 (a frame is seen 80 times) as its SECOND
# does on KITTI. For 8 GPUs x 4 frames; auto_scale_lr.enable=True adapts the rate to another batch.
lr = 1e-4
epochs = 40
rise = 0.4 * epochs
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=lr, weight_decay=0.01),
    clip_grad=dict(max_norm=35, norm_type=2))
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
auto_scale_lr = dict(enable=False, base_batch_size=32)
