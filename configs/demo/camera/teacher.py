# CenterPoint on 0.8 m pillars, with the camera students' map encoder and head. No images are loaded.
_base_ = './_base_.py'
epochs = 8
train_cfg = dict(max_epochs=epochs)
param_scheduler = dict(total_steps=epochs)
model = dict(
    type='Distiller', student=dict(config='kd3d::_base_/models/centerpoint_pillar08_nusdemo.py'))
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
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
