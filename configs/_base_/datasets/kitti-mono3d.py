# KITTI's left colour images, three classes, as mmdet3d has it, with the intrinsics scaled where images
# are of another size: kd3d prepare kitti --root data/kitti.
data_root = 'data/kitti/'
class_names = ['Pedestrian', 'Cyclist', 'Car']
dataset = dict(
    type='KittiDataset',
    data_root=data_root,
    data_prefix=dict(img='training/image_2'),
    load_type='fov_image_based',
    metainfo=dict(classes=class_names),
    modality=dict(use_lidar=False, use_camera=True),
    box_type_3d='Camera')
load = [
    dict(type='LoadImageFromFileMono3D'),
    dict(
        type='LoadAnnotations3D',
        with_bbox=True,
        with_label=True,
        with_attr_label=False,
        with_bbox_3d=True,
        with_label_3d=True,
        with_bbox_depth=True)
]
pack = dict(
    type='Pack3DDetInputs',
    keys=[
        'img', 'gt_bboxes', 'gt_bboxes_labels', 'gt_bboxes_3d', 'gt_labels_3d', 'centers_2d',
        'depths'
    ])
train_pipeline = [
    *load,
    dict(type='Resize3D', scale=(1242, 375), keep_ratio=True),
    dict(type='RandomFlip3D', flip_ratio_bev_horizontal=0.5), pack
]
test_pipeline = [
    load[0],
    dict(type='Resize3D', scale=(1242, 375), keep_ratio=True),
    dict(type='Pack3DDetInputs', keys=['img'])
]
train_dataloader = dict(
    batch_size=3,
    num_workers=3,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        ann_file='kitti_infos_train.pkl', pipeline=train_pipeline, test_mode=False, **dataset))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        ann_file='kitti_infos_val.pkl', pipeline=test_pipeline, test_mode=True, **dataset))
test_dataloader = val_dataloader
val_evaluator = dict(type='KittiAP', label_dir=data_root + 'training/label_2')
test_evaluator = val_evaluator
