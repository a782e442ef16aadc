# BEVDet for the edge: MobileNetV2, a quarter of the channels in the bird's-eye view, bins of 1 m.
_base_ = './bevdet_r50_nus.py'
norm_cfg = dict(type='BN', eps=1e-3, momentum=0.01)
model = dict(
    img_backbone=dict(
        _delete_=True,
        type='mmdet.MobileNetV2',
        out_indices=(4, 6),
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://mmdet/mobilenet_v2')),
    img_neck=dict(in_channels=[96, 320], out_channels=[64, 64]),
    img_depth_net=dict(in_channels=128, context_channels=32),
    view_transform=dict(depth=[1.0, 60.0, 1.0]),
    pts_backbone=dict(in_channels=32, out_channels=[32, 64, 128], layer_nums=[1, 2, 2]),
    pts_neck=dict(in_channels=[32, 64, 128], out_channels=[32, 32, 32]),
    pts_bbox_head=dict(in_channels=96, share_conv_channel=32, separate_head=dict(head_conv=32)))
