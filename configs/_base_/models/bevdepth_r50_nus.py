# BEVDepth with ResNet-50 on nuScenes: the camera-aware depth net, taught with LiDAR points; needs
# depth maps of stride 16 (DepthMaps).
_base_ = './bevdet_r50_nus.py'
model = dict(
    img_depth_net=dict(
        _delete_=True,
        type='CameraAwareDepthNet',
        in_channels=512,
        context_channels=80,
        mid_channels=256),
    view_transform=dict(depth=[2.0, 58.0, 0.5]),
    depth_loss=dict(weight=3.0, kind='binary'),
    pts_backbone=dict(in_channels=80))
