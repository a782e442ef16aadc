# mmdet3d's SMOKE with DLA-34 on KITTI: a camera teacher. 72 epochs for 4 GPUs x 8 images.
_base_ = [
    '../_base_/default_runtime.py', '../_base_/datasets/kitti-mono3d.py',
    '../_base_/schedules/mono3d-12e.py'
]
epochs = 72
model = dict(
    type='Distiller',
    student=dict(config='mmdet3d::smoke/smoke_dla34_dlaneck_gn-all_4xb8-6x_kitti-mono3d.py'))
resize = dict(type='AffineResize', img_scale=(1280, 384), down_ratio=4)
train_pipeline = [
    *_base_.load,
    dict(type='RandomFlip3D', flip_ratio_bev_horizontal=0.5),
    dict(type='RandomShiftScale', shift_scale=(0.2, 0.4), aug_prob=0.3), resize, _base_.pack
]
test_pipeline = [_base_.load[0], resize, dict(type='Pack3DDetInputs', keys=['img'])]
train_dataloader = dict(batch_size=8, num_workers=4, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
optim_wrapper = dict(
    _delete_=True, type='OptimWrapper', optimizer=dict(type='Adam', lr=2.5e-4), clip_grad=None)
param_scheduler = [
    dict(type='MultiStepLR', milestones=[50], gamma=0.1, by_epoch=True, begin=0, end=epochs)
]
train_cfg = dict(max_epochs=epochs, val_interval=epochs)
auto_scale_lr = dict(base_batch_size=32)
