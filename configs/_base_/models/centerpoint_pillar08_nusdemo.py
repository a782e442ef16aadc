# A small CenterPoint on 0.8 m pillars whose map encoder and head are those of bevdet_shared_demo, which
# can begin with their weights: model.inherit=dict(type='handover', parts=['backbone', 'neck', 'bbox_head']).
_base_ = './centerpoint_pillar04_nusdemo.py'
voxel_size = [0.8, 0.8, 8]
grid = dict(voxel_size=voxel_size, out_size_factor=2)
model = dict(
    data_preprocessor=dict(
        voxel_layer=dict(max_num_points=20, voxel_size=voxel_size, max_voxels=(9000, 9000))),
    pts_voxel_encoder=dict(voxel_size=voxel_size),
    pts_middle_encoder=dict(output_shape=(128, 128)),
    pts_neck=dict(upsample_strides=[1, 2, 4]),
    pts_bbox_head=dict(bbox_coder=dict(voxel_size=voxel_size[:2], out_size_factor=2)),
    train_cfg=dict(pts=dict(grid_size=[128, 128, 1], **grid)),
    test_cfg=dict(pts=dict(voxel_size=voxel_size[:2], out_size_factor=2)))
