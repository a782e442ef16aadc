# SparseKD on Waymo as its authors trained it: a fifth of the frames, 30 epochs, pillars of 0.32 m
# for the teacher and 0.48 m for the student, their weights and score thresholds (car, pedestrian,
# cyclist). Only built and stepped on made-up points here: no Waymo data were at hand.
_base_ = 'mmdet3d::_base_/datasets/waymoD5-3d-3class.py'
default_scope = 'mmdet3d'
detector = 'kd3d::_base_/models/centerpoint_pillar032_waymo.py'
point_cloud_range = [-74.88, -74.88, -2, 74.88, 74.88, 4]
model = dict(
    type='Distiller',
    student=dict(config=detector, shrink=dict(voxel_m=0.48)),
    teachers=dict(
        teacher=dict(
            type='Frozen',
            config=detector,
            checkpoint='work_dirs/centerpoint-pillar_waymo/student.pth')),
    method=dict(type='sparsekd', scores=7.0, boxes=0.0, labels=dict(score=[0.6, 0.5, 0.5])))
train_pipeline = [
    dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=6, use_dim=5),
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
    dict(
        type='RandomFlip3D',
        sync_2d=False,
        flip_ratio_bev_horizontal=0.5,
        flip_ratio_bev_vertical=0.5),
    dict(
        type='GlobalRotScaleTrans',
        rot_range=[-0.78539816, 0.78539816],
        scale_ratio_range=[0.95, 1.05]),
    dict(type='PointsRangeFilter', point_cloud_range=point_cloud_range),
    dict(type='ObjectRangeFilter', point_cloud_range=point_cloud_range),
    dict(type='PadVelocity'),
    dict(type='PointShuffle'),
    dict(type='Pack3DDetInputs', keys=['points', 'gt_bboxes_3d', 'gt_labels_3d'])
]
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))
epochs = 30
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=3e-3, betas=(0.9, 0.99), weight_decay=0.01),
    clip_grad=dict(max_norm=10, norm_type=2))
param_scheduler = dict(
    type='OneCycleLR', eta_max=3e-3, pct_start=0.4, total_steps=epochs, by_epoch=True,
    convert_to_iter_based=True)
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=epochs)
val_cfg = dict()
test_cfg = dict()
