# CenterPoint on 0.1 m voxels of the demo's range, half of mmdet3d's width.
_base_ = '../_base_.py'
range_ = [0, -25.6, -3, 51.2, 25.6, 1]
voxel_size = [0.05, 0.05, 0.1]
norm_cfg = dict(type='BN', eps=1e-3, momentum=0.05)
epochs = 6
train_cfg = dict(max_epochs=epochs)
param_scheduler = dict(eta_max=2.5e-3, total_steps=epochs)
optim_wrapper = dict(optimizer=dict(lr=2.5e-3))
model = dict(
    type='Distiller',
    student=dict(
        config='kd3d::_base_/models/centerpoint_voxel005_kitti.py',
        override=dict(
            data_preprocessor=dict(voxel_layer=dict(point_cloud_range=range_)),
            pts_middle_encoder=dict(
                sparse_shape=[41, 1024, 1024],
                norm_cfg=dict(type='BN1d', eps=1e-3, momentum=0.05)),
            pts_backbone=dict(norm_cfg=norm_cfg),
            pts_neck=dict(norm_cfg=norm_cfg),
            pts_bbox_head=dict(
                norm_cfg=dict(type='BN2d', momentum=0.05),
                loss_bbox=dict(loss_weight=2.0),
                bbox_coder=dict(pc_range=range_[:2], max_num=100, score_threshold=0.05)),
            train_cfg=dict(
                pts=dict(
                    point_cloud_range=range_,
                    grid_size=[1024, 1024, 40],
                    max_objs=100,
                    min_radius=1)),
            test_cfg=dict(
                pts=dict(
                    pc_range=range_[:2], score_threshold=0.05, nms_thr=0.1, post_max_size=50))),
        shrink=dict(width=0.5, voxel_m=0.1)))
