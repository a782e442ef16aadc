# bevdet_small_demo with the map encoder and head of centerpoint_pillar08_nusdemo: it lifts into 0.8 m
# cells, and takes means, as a pillar has features of the same size near and far.
_base_ = './bevdet_small_demo.py'
cell_m = 0.8
grid = dict(grid_size=[128, 128, 1], voxel_size=[cell_m, cell_m, 8], out_size_factor=2)
model = dict(
    view_transform=dict(x=[-51.2, 51.2, cell_m], y=[-51.2, 51.2, cell_m], mean_smoothing=0.1),
    pts_backbone=dict(layer_strides=[2, 2, 2]),
    pts_bbox_head=dict(bbox_coder=dict(voxel_size=[cell_m, cell_m], out_size_factor=2)),
    train_cfg=dict(pts=grid),
    test_cfg=dict(pts=dict(voxel_size=[cell_m, cell_m], out_size_factor=2)))
