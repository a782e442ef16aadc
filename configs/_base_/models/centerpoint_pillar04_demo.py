# A small CenterPoint with 0.4 m pillars for minutes on two CPU cores; 0..51.2 m ahead.
_base_ = './centerpoint_pillar016_kitti.py'
point_cloud_range = [0, -25.6, -3, 51.2, 25.6, 1]
voxel_size = [0.4, 0.4, 4]
norm_cfg = dict(type='BN', eps=1e-3, momentum=0.05)
model = dict(
    data_preprocessor=dict(
        voxel_layer=dict(
            max_num_points=8,
            point_cloud_range=point_cloud_range,
            voxel_size=voxel_size,
            max_voxels=(8000, 8000))),
    pts_voxel_encoder=dict(
        feat_channels=[32],
        voxel_size=voxel_size,
        point_cloud_range=point_cloud_range,
        norm_cfg=dict(type='BN1d', eps=1e-3, momentum=0.05)),
    pts_middle_encoder=dict(in_channels=32, output_shape=(128, 128)),
    pts_backbone=dict(
        in_channels=32,
        out_channels=[32, 64, 128],
        layer_nums=[2, 3, 3],
        norm_cfg=norm_cfg),
    pts_neck=dict(
        in_channels=[32, 64, 128], out_channels=[64, 64, 64], norm_cfg=norm_cfg),
    pts_bbox_head=dict(
        in_channels=192,
        norm_cfg=dict(type='BN2d', momentum=0.05),
        share_conv_channel=32,
        loss_bbox=dict(loss_weight=2.0),
        separate_head=dict(head_conv=32),
        bbox_coder=dict(
            pc_range=point_cloud_range[:2], voxel_size=voxel_size[:2], max_num=100,
            score_threshold=0.05)),
    train_cfg=dict(
        pts=dict(
            point_cloud_range=point_cloud_range,
            grid_size=[128, 128, 1],
            voxel_size=voxel_size,
            max_objs=100,
            min_radius=1)),
    test_cfg=dict(
        pts=dict(
            pc_range=point_cloud_range[:2], voxel_size=voxel_size[:2], score_threshold=0.05,
            nms_thr=0.1, post_max_size=50)))
