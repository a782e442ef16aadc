# A narrow LiDAR student and a camera teacher: images are loaded for the teacher, in training alone.
_base_ = [
    '../default_runtime.py', '../datasets/nus-surround.py', 'mmdet3d::_base_/schedules/cyclic-20e.py'
]
_depths = ('DepthMaps', 'KeepRawPoints')  # teach a camera student its depth
train_pipeline = [step for step in _base_.train_pipeline if step['type'] not in _depths]
test_pipeline = [
    *[step for step in _base_.test_pipeline[:-1] if step['type'] != 'LoadSurroundImages'],
    dict(type='Pack3DDetInputs', keys=['points'])
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
model = dict(
    type='Distiller',
    student=dict(
        config='kd3d::_base_/models/centerpoint_pillar02_nus.py', shrink=dict(width=0.5)),
    teachers=dict(
        teacher=dict(
            type='Frozen',
            config='kd3d::teachers/bevdepth-r50_nus.py',
            checkpoint='work_dirs/bevdepth-r50_nus/student.pth')))
