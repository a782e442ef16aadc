# CenterPoint with 0.2 m pillars in the camera students' frame, range and cells: their LiDAR teacher.
# Trained on their data, mmdet3d's schedule for CenterPoint on nuScenes. No images are loaded.
_base_ = [
    '../_base_/default_runtime.py', '../_base_/datasets/nus-surround.py',
    'mmdet3d::_base_/schedules/cyclic-20e.py'
]
model = dict(
    type='Distiller', student=dict(config='kd3d::_base_/models/centerpoint_pillar02_nus.py'))
_points = ('LoadSurroundImages', 'DepthMaps', 'KeepRawPoints', 'PackBranches')
train_pipeline = [
    *[step for step in _base_.train_pipeline if step['type'] not in _points],
    dict(type='Pack3DDetInputs', keys=['points', 'gt_bboxes_3d', 'gt_labels_3d'])
]
test_pipeline = [
    *[step for step in _base_.test_pipeline if step['type'] not in _points],
    dict(type='Pack3DDetInputs', keys=['points'])
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
