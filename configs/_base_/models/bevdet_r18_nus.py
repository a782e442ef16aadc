# A compact BEVDet: ResNet-18, half of the channels in the bird's-eye view.
_base_ = './bevdet_r50_nus.py'
model = dict(
    img_backbone=dict(
        depth=18,
        init_cfg=dict(
            type='Pretrained', checkpoint='https://download.pytorch.org/models/resnet18-f37072fd.pth')),
    img_neck=dict(in_channels=[256, 512], out_channels=[128, 128]),
    img_depth_net=dict(in_channels=256, context_channels=32),
    pts_backbone=dict(in_channels=32, out_channels=[64, 128, 256], layer_nums=[2, 2, 2]),
    pts_neck=dict(in_channels=[64, 128, 256], out_channels=[64, 64, 64]),
    pts_bbox_head=dict(in_channels=192, share_conv_channel=32))
