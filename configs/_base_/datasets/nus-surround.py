# nuScenes for cameras and LiDAR under one geometry: kd3d prepare nuscenes --data-root data/nuscenes.
# Classes are in the order of the heads' tasks. The augmentation is BEVDet's; nothing is pasted.
custom_imports = dict(imports=['kd3d.data.surround', 'kd3d.data.multi_input'])
data_root = 'data/nuscenes/'
class_names = [
    'car', 'truck', 'construction_vehicle', 'bus', 'trailer', 'barrier', 'motorcycle', 'bicycle',
    'pedestrian', 'traffic_cone'
]
point_cloud_range = [-51.2, -51.2, -5.0, 51.2, 51.2, 3.0]
image_size = (256, 704)
stride = 16  # of the features that are lifted
sweeps_num = 9
dataset = dict(
    type='NuScenesDataset',
    data_root=data_root,
    data_prefix=dict(
        pts='samples/LIDAR_TOP',
        sweeps='sweeps/LIDAR_TOP',
        CAM_FRONT='samples/CAM_FRONT',
        CAM_FRONT_LEFT='samples/CAM_FRONT_LEFT',
        CAM_FRONT_RIGHT='samples/CAM_FRONT_RIGHT',
        CAM_BACK='samples/CAM_BACK',
        CAM_BACK_LEFT='samples/CAM_BACK_LEFT',
        CAM_BACK_RIGHT='samples/CAM_BACK_RIGHT'),
    metainfo=dict(classes=class_names),
    modality=dict(use_lidar=True, use_camera=True),
    box_type_3d='LiDAR')

train_pipeline = [
    dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=5, use_dim=5),
    dict(type='KeepRawPoints', key='points_depth'),
    dict(type='LoadSweeps', sweeps_num=sweeps_num, use_dim=[0, 1, 2, 3, 4]),
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
    dict(
        type='GlobalRotScaleTrans',
        rot_range=[-0.3925, 0.3925],
        scale_ratio_range=[0.95, 1.05],
        translation_std=[0, 0, 0]),
    dict(
        type='RandomFlip3D',
        sync_2d=False,
        flip_ratio_bev_horizontal=0.5,
        flip_ratio_bev_vertical=0.5),
    dict(
        type='LoadSurroundImages',
        size=image_size,
        train=True,
        resize=(-0.06, 0.11),
        angle_deg=(-5.4, 5.4),
        flip=0.5),
    dict(type='DepthMaps', points='points_depth', stride=stride),
    dict(type='PointsRangeFilter', point_cloud_range=point_cloud_range),
    dict(type='ObjectRangeFilter', point_cloud_range=point_cloud_range),
    dict(type='ObjectNameFilter', classes=class_names),
    dict(type='PackBranches', keys=['points', 'img', 'gt_bboxes_3d', 'gt_labels_3d'])
]
test_pipeline = [
    dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=5, use_dim=5),
    dict(type='LoadSweeps', sweeps_num=sweeps_num, use_dim=[0, 1, 2, 3, 4], test_mode=True),
    dict(type='LoadSurroundImages', size=image_size),
    dict(type='PointsRangeFilter', point_cloud_range=point_cloud_range),
    dict(type='PackBranches', keys=['points', 'img'])
]
train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        ann_file='nuscenes_infos_train.pkl', pipeline=train_pipeline, test_mode=False, **dataset))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        ann_file='nuscenes_infos_val.pkl', pipeline=test_pipeline, test_mode=True, **dataset))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='NuScenesAP', data_root=data_root, ann_file=data_root + 'nuscenes_infos_val.pkl')
test_evaluator = val_evaluator
