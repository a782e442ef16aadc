# CenterPoint with pillars on KITTI: mmdet3d's nuScenes model on KITTI's range and classes.
# Boxes get a velocity of zero (PadVelocity), which the loss ignores (code_weights).
_base_ = 'mmdet3d::_base_/models/centerpoint_pillar02_second_secfpn_nus.py'
point_cloud_range = [0, -39.68, -3, 69.12, 39.68, 1]
voxel_size = [0.16, 0.16, 4]
model = dict(
    data_preprocessor=dict(
        voxel_layer=dict(
            max_num_points=32,
            point_cloud_range=point_cloud_range,
            voxel_size=voxel_size,
            max_voxels=(16000, 40000))),
    pts_voxel_encoder=dict(
        in_channels=4, voxel_size=voxel_size, point_cloud_range=point_cloud_range),
    pts_middle_encoder=dict(output_shape=(496, 432)),
    pts_neck=dict(upsample_strides=[1, 2, 4], use_conv_for_no_stride=True),
    pts_bbox_head=dict(
        tasks=[dict(num_class=3, class_names=['Pedestrian', 'Cyclist', 'Car'])],
        bbox_coder=dict(
            pc_range=point_cloud_range[:2],
            post_center_range=[-5, -45, -10, 75, 45, 10],
            out_size_factor=2,
            voxel_size=voxel_size[:2])),
    train_cfg=dict(
        pts=dict(
            point_cloud_range=point_cloud_range,
            grid_size=[432, 496, 1],
            voxel_size=voxel_size,
            out_size_factor=2,
            code_weights=[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0])),
    test_cfg=dict(
        pts=dict(
            post_center_limit_range=[-5, -45, -10, 75, 45, 10],
            pc_range=point_cloud_range[:2],
            out_size_factor=2,
            voxel_size=voxel_size[:2])))
