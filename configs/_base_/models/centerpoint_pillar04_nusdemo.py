# A small CenterPoint with 0.4 m pillars in the frame, range and head cells of bevdet_small_demo.
_base_ = './centerpoint_pillar02_nus.py'
point_cloud_range = [-51.2, -51.2, -5.0, 51.2, 51.2, 3.0]
voxel_size = [0.4, 0.4, 8]
norm_cfg = dict(type='BN', eps=1e-3, momentum=0.05)
classes = [
    'car', 'truck', 'construction_vehicle', 'bus', 'trailer', 'barrier', 'motorcycle', 'bicycle',
    'pedestrian', 'traffic_cone'
]
model = dict(
    init_cfg=dict(type='HeatmapPrior'),
    data_preprocessor=dict(
        voxel_layer=dict(max_num_points=10, voxel_size=voxel_size, max_voxels=(12000, 12000))),
    pts_voxel_encoder=dict(
        feat_channels=[32],
        voxel_size=voxel_size,
        norm_cfg=dict(type='BN1d', eps=1e-3, momentum=0.05)),
    pts_middle_encoder=dict(in_channels=32, output_shape=(256, 256)),
    pts_backbone=dict(
        in_channels=32, out_channels=[32, 64, 96], layer_nums=[1, 2, 2], norm_cfg=norm_cfg),
    pts_neck=dict(
        in_channels=[32, 64, 96],
        out_channels=[32, 32, 32],
        upsample_strides=[0.5, 1, 2],
        norm_cfg=norm_cfg),
    pts_bbox_head=dict(
        in_channels=96,
        share_conv_channel=32,
        tasks=[dict(num_class=10, class_names=classes)],
        separate_head=dict(head_conv=32),
        bbox_coder=dict(max_num=200, score_threshold=0.02, voxel_size=voxel_size[:2])),
    train_cfg=dict(
        pts=dict(grid_size=[256, 256, 1], voxel_size=voxel_size, max_objs=200, min_radius=1)),
    test_cfg=dict(
        pts=dict(voxel_size=voxel_size[:2], score_threshold=0.02, post_max_size=200)))
