# A small BEVDet for minutes on two CPU cores: six images of 96x256, a narrow ResNet-18 at stride 8,
# 64x64 cells of 1.6 m, one task of ten classes. It learns its depth from LiDAR points: DepthMaps of
# stride 8.
_base_ = './bevdet_r50_nus.py'
image_size = (96, 256)
cell_m = 1.6
grid = dict(grid_size=[64, 64, 1], voxel_size=[cell_m, cell_m, 8])
norm_cfg = dict(type='BN', eps=1e-3, momentum=0.05)
classes = [
    'car', 'truck', 'construction_vehicle', 'bus', 'trailer', 'barrier', 'motorcycle', 'bicycle',
    'pedestrian', 'traffic_cone'
]
model = dict(
    init_cfg=dict(type='HeatmapPrior'),
    img_backbone=dict(
        depth=18, base_channels=16, stem_channels=16, out_indices=(1, 2, 3), init_cfg=None),
    img_neck=dict(
        in_channels=[32, 64, 128],
        out_channels=[32, 32, 32],
        upsample_strides=[1, 2, 4],
        norm_cfg=norm_cfg),
    img_depth_net=dict(in_channels=96, context_channels=32),
    view_transform=dict(
        x=[-51.2, 51.2, cell_m], y=[-51.2, 51.2, cell_m], depth=[1.0, 57.0, 1.0]),
    depth_loss=dict(weight=1.0, kind='categorical'),
    pts_backbone=dict(
        in_channels=32,
        out_channels=[32, 64, 96],
        layer_nums=[1, 2, 2],
        layer_strides=[1, 2, 2],
        norm_cfg=norm_cfg),
    pts_neck=dict(
        in_channels=[32, 64, 96],
        out_channels=[32, 32, 32],
        upsample_strides=[1, 2, 4],
        norm_cfg=norm_cfg),
    pts_bbox_head=dict(
        in_channels=96,
        share_conv_channel=32,
        tasks=[dict(num_class=10, class_names=classes)],
        separate_head=dict(head_conv=32),
        bbox_coder=dict(max_num=200, score_threshold=0.02, voxel_size=[cell_m, cell_m])),
    train_cfg=dict(pts=dict(max_objs=200, min_radius=1, **grid)),
    test_cfg=dict(
        pts=dict(voxel_size=[cell_m, cell_m], score_threshold=0.02, post_max_size=200)))
