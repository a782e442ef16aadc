# BEVDet with ResNet-50 on nuScenes: six images of 256x704, 128x128 cells of 0.8 m, the head of
# mmdet3d's CenterPoint. BEVDepth: img_depth_net of type CameraAwareDepthNet and depth_loss=dict().
custom_imports = dict(imports=['kd3d.models.bev.detectors'], allow_failed_imports=False)
point_cloud_range = [-51.2, -51.2, -5.0, 51.2, 51.2, 3.0]
image_size = (256, 704)
cell_m = 0.8
norm_cfg = dict(type='BN', eps=1e-3, momentum=0.01)
grid = dict(
    point_cloud_range=point_cloud_range,
    grid_size=[128, 128, 1],
    voxel_size=[cell_m, cell_m, 8],
    out_size_factor=1)
limits = [-61.2, -61.2, -10.0, 61.2, 61.2, 10.0]
model = dict(
    type='BEVDet',
    data_preprocessor=dict(
        type='Det3DDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32),
    img_backbone=dict(
        type='mmdet.ResNet',
        depth=50,
        num_stages=4,
        out_indices=(2, 3),
        frozen_stages=-1,
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=False,
        style='pytorch',
        init_cfg=dict(
            type='Pretrained', checkpoint='https://download.pytorch.org/models/resnet50-0676ba61.pth')),
    img_neck=dict(
        type='SECONDFPN',
        in_channels=[1024, 2048],
        out_channels=[256, 256],
        upsample_strides=[1, 2],
        norm_cfg=norm_cfg),
    img_depth_net=dict(type='DepthNet', in_channels=512, context_channels=64),
    view_transform=dict(
        type='LiftSplat',
        x=[-51.2, 51.2, cell_m],
        y=[-51.2, 51.2, cell_m],
        z=[-5.0, 3.0, 8.0],
        depth=[1.0, 60.0, 0.5]),
    pts_backbone=dict(
        type='SECOND',
        in_channels=64,
        out_channels=[128, 256, 512],
        layer_nums=[3, 3, 3],
        layer_strides=[2, 2, 2],
        norm_cfg=norm_cfg),
    pts_neck=dict(
        type='SECONDFPN',
        in_channels=[128, 256, 512],
        out_channels=[128, 128, 128],
        upsample_strides=[2, 4, 8],
        norm_cfg=norm_cfg),
    pts_bbox_head=dict(
        type='CenterHead',
        in_channels=384,
        tasks=[
            dict(num_class=1, class_names=['car']),
            dict(num_class=2, class_names=['truck', 'construction_vehicle']),
            dict(num_class=2, class_names=['bus', 'trailer']),
            dict(num_class=1, class_names=['barrier']),
            dict(num_class=2, class_names=['motorcycle', 'bicycle']),
            dict(num_class=2, class_names=['pedestrian', 'traffic_cone']),
        ],
        common_heads=dict(reg=(2, 2), height=(1, 2), dim=(3, 2), rot=(2, 2), vel=(2, 2)),
        share_conv_channel=64,
        bbox_coder=dict(
            type='CenterPointBBoxCoder',
            pc_range=point_cloud_range[:2],
            post_center_range=limits,
            max_num=500,
            score_threshold=0.1,
            out_size_factor=1,
            voxel_size=[cell_m, cell_m],
            code_size=9),
        separate_head=dict(type='SeparateHead', init_bias=-2.19, final_kernel=3),
        loss_cls=dict(type='mmdet.GaussianFocalLoss', reduction='mean'),
        loss_bbox=dict(type='mmdet.L1Loss', reduction='mean', loss_weight=0.25),
        norm_bbox=True),
    train_cfg=dict(
        pts=dict(
            dense_reg=1,
            gaussian_overlap=0.1,
            max_objs=500,
            min_radius=2,
            code_weights=[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.2, 0.2],
            **grid)),
    test_cfg=dict(
        pts=dict(
            post_center_limit_range=limits,
            max_per_img=500,
            max_pool_nms=False,
            min_radius=[4, 12, 10, 1, 0.85, 0.175],
            score_threshold=0.1,
            pc_range=point_cloud_range[:2],
            out_size_factor=1,
            voxel_size=[cell_m, cell_m],
            nms_type='rotate',
            pre_max_size=1000,
            post_max_size=83,
            nms_thr=0.2)))
