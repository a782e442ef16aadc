# mmdet3d's PGD with ResNet-101 on KITTI: a camera teacher. 48 epochs for 4 GPUs x 3 images.
_base_ = [
    '../_base_/default_runtime.py', '../_base_/datasets/kitti-mono3d.py',
    '../_base_/schedules/mono3d-12e.py'
]
epochs = 48
model = dict(
    type='Distiller',
    student=dict(config='mmdet3d::pgd/pgd_r101-caffe_fpn_head-gn_4xb3-4x_kitti-mono3d.py'))
optim_wrapper = dict(optimizer=dict(lr=0.001))
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / 3, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', milestones=[32, 44], gamma=0.1, by_epoch=True, begin=0, end=epochs)
]
train_cfg = dict(max_epochs=epochs, val_interval=epochs)
auto_scale_lr = dict(base_batch_size=12)
