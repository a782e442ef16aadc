# CenterPoint with voxels on KITTI: mmdet3d's nuScenes model on SECOND's range and voxels for KITTI.
# Boxes get a velocity of zero (PadVelocity), which the loss ignores (code_weights).
_base_ = 'mmdet3d::_base_/models/centerpoint_voxel01_second_secfpn_nus.py'
point_cloud_range = [0, -40, -3, 70.4, 40, 1]
voxel_size = [0.05, 0.05, 0.1]
model = dict(
    data_preprocessor=dict(
        voxel_layer=dict(
            max_num_points=5,
            point_cloud_range=point_cloud_range,
            voxel_size=voxel_size,
            max_voxels=(16000, 40000))),
    pts_voxel_encoder=dict(num_features=4),
    pts_middle_encoder=dict(in_channels=4, sparse_shape=[41, 1600, 1408]),
    pts_bbox_head=dict(
        tasks=[dict(num_class=3, class_names=['Pedestrian', 'Cyclist', 'Car'])],
        bbox_coder=dict(
            pc_range=point_cloud_range[:2],
            post_center_range=[-5, -45, -10, 75, 45, 10],
            voxel_size=voxel_size[:2])),
    train_cfg=dict(
        pts=dict(
            point_cloud_range=point_cloud_range,
            grid_size=[1408, 1600, 40],
            voxel_size=voxel_size,
            code_weights=[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0])),
    test_cfg=dict(
        pts=dict(
            post_center_limit_range=[-5, -45, -10, 75, 45, 10],
            pc_range=point_cloud_range[:2],
            voxel_size=voxel_size[:2])))
