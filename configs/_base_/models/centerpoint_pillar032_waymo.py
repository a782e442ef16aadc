# CenterPoint with 0.32 m pillars on Waymo: mmdet3d's nuScenes model with the range, the strides and
# the classes of the paper that distilled it (SparseKD); boxes get a velocity of zero (PadVelocity).
_base_ = 'mmdet3d::_base_/models/centerpoint_pillar02_second_secfpn_nus.py'
point_cloud_range = [-74.88, -74.88, -2, 74.88, 74.88, 4]
voxel_size = [0.32, 0.32, 6]
limits = [-80, -80, -10, 80, 80, 10]
model = dict(
    data_preprocessor=dict(
        voxel_layer=dict(
            point_cloud_range=point_cloud_range,
            voxel_size=voxel_size,
            max_voxels=(60000, 60000))),
    pts_voxel_encoder=dict(voxel_size=voxel_size, point_cloud_range=point_cloud_range),
    pts_middle_encoder=dict(output_shape=(468, 468)),
    pts_backbone=dict(layer_strides=[1, 2, 2]),
    pts_neck=dict(upsample_strides=[1, 2, 4]),
    pts_bbox_head=dict(
        tasks=[dict(num_class=3, class_names=['Car', 'Pedestrian', 'Cyclist'])],
        bbox_coder=dict(
            pc_range=point_cloud_range[:2],
            post_center_range=limits,
            out_size_factor=1,
            voxel_size=voxel_size[:2])),
    train_cfg=dict(
        pts=dict(
            point_cloud_range=point_cloud_range,
            grid_size=[468, 468, 1],
            voxel_size=voxel_size,
            out_size_factor=1,
            code_weights=[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0])),
    test_cfg=dict(
        pts=dict(
            post_center_limit_range=limits,
            pc_range=point_cloud_range[:2],
            out_size_factor=1,
            voxel_size=voxel_size[:2])))
