# Camera and LiDAR joined by a gate: bevdepth_r50_nus with 0.2 m pillars, which are convolved down to
# the cells of the lifted map. mode='concat' joins as BEVFusion does.
_base_ = './bevdepth_r50_nus.py'
point_cloud_range = [-51.2, -51.2, -5.0, 51.2, 51.2, 3.0]
voxel_size = [0.2, 0.2, 8]
model = dict(
    type='BEVFusionDetector',
    data_preprocessor=dict(
        voxel=True,
        voxel_layer=dict(
            max_num_points=20,
            point_cloud_range=point_cloud_range,
            voxel_size=voxel_size,
            max_voxels=(30000, 40000))),
    pts_voxel_encoder=dict(
        type='PillarFeatureNet',
        in_channels=5,
        feat_channels=[64],
        with_distance=False,
        voxel_size=voxel_size,
        point_cloud_range=point_cloud_range,
        norm_cfg=dict(type='BN1d', eps=1e-3, momentum=0.01),
        legacy=False),
    pts_middle_encoder=dict(
        type='PointPillarsScatter', in_channels=64, output_shape=(512, 512)),
    bev_fuser=dict(
        type='BEVFuser',
        lidar_channels=64,
        camera_channels=80,
        out_channels=128,
        mode='gated',
        lidar_stride=4),
    pts_backbone=dict(in_channels=128))
