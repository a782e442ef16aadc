# SECOND on 0.1 m voxels of the demo's range, half of mmdet3d's width.
_base_ = './_anchor_data.py'
range_ = [0, -25.6, -3, 51.2, 25.6, 1]
norm_cfg = dict(type='BN', eps=1e-3, momentum=0.05)
epochs = 6
train_cfg = dict(max_epochs=epochs)
param_scheduler = dict(eta_max=2.5e-3, total_steps=epochs)
optim_wrapper = dict(optimizer=dict(lr=2.5e-3))
model = dict(
    type='Distiller',
    student=dict(
        config='mmdet3d::second/second_hv_secfpn_8xb6-80e_kitti-3d-3class.py',
        override=dict(
            data_preprocessor=dict(voxel_layer=dict(point_cloud_range=range_)),
            middle_encoder=dict(
                sparse_shape=[41, 1024, 1024],
                norm_cfg=dict(type='BN1d', eps=1e-3, momentum=0.05)),
            backbone=dict(norm_cfg=norm_cfg),
            neck=dict(norm_cfg=norm_cfg),
            bbox_head=dict(
                anchor_generator=dict(
                    ranges=[
                        [0, -25.6, -0.6, 51.2, 25.6, -0.6],
                        [0, -25.6, -0.6, 51.2, 25.6, -0.6],
                        [0, -25.6, -1.78, 51.2, 25.6, -1.78],
                    ]))),
        shrink=dict(width=0.5, voxel_m=0.1)))
