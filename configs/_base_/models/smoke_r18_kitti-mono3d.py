# SMOKE on ResNet-18 and a plain neck instead of DLA-34, whose neck has deformable convolutions: one
# map of 64 channels at stride 4 as there.
_base_ = 'mmdet3d::smoke/smoke_dla34_dlaneck_gn-all_4xb8-6x_kitti-mono3d.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmdet.ResNet',
        depth=18,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=False,
        style='pytorch',
        init_cfg=dict(
            type='Pretrained', checkpoint='https://download.pytorch.org/models/resnet18-f37072fd.pth')),
    neck=dict(
        _delete_=True,
        type='SECONDFPN',
        in_channels=[64, 128, 256, 512],
        out_channels=[16, 16, 16, 16],
        upsample_strides=[1, 2, 4, 8],
        norm_cfg=dict(type='BN', eps=1e-3, momentum=0.01)))
