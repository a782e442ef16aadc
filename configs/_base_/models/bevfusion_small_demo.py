# bevdet_small_demo joined with 0.4 m pillars.
_base_ = './bevdet_small_demo.py'
point_cloud_range = [-51.2, -51.2, -5.0, 51.2, 51.2, 3.0]
voxel_size = [0.4, 0.4, 8]
model = dict(
    type='BEVFusionDetector',
    data_preprocessor=dict(
        voxel=True,
        voxel_layer=dict(
            max_num_points=10,
            point_cloud_range=point_cloud_range,
            voxel_size=voxel_size,
            max_voxels=(12000, 12000))),
    pts_voxel_encoder=dict(
        type='PillarFeatureNet',
        in_channels=5,
        feat_channels=[32],
        with_distance=False,
        voxel_size=voxel_size,
        point_cloud_range=point_cloud_range,
        norm_cfg=dict(type='BN1d', eps=1e-3, momentum=0.05),
        legacy=False),
    pts_middle_encoder=dict(
        type='PointPillarsScatter', in_channels=32, output_shape=(256, 256)),
    bev_fuser=dict(
        type='BEVFuser',
        lidar_channels=32,
        camera_channels=32,
        out_channels=32,
        mode='gated',
        lidar_stride=4))
