# Data and budget of the camera demo: simulated nuScenes, small pictures, 6 epochs of batch 2.
_base_ = [
    '../../_base_/default_runtime.py', '../../_base_/datasets/nus-surround.py',
    '../../_base_/schedules/demo.py'
]
data_root = 'data/nuscenes/'
image_size = (96, 256)
stride = 8
sweeps_num = 2
train_pipeline = [dict(step) for step in _base_.train_pipeline]
for _step in train_pipeline:
    if _step['type'] == 'LoadSurroundImages':
        _step['size'] = image_size
    elif _step['type'] == 'DepthMaps':
        _step['stride'] = stride
    elif _step['type'] == 'LoadSweeps':
        _step['sweeps_num'] = sweeps_num
test_pipeline = [dict(step) for step in _base_.test_pipeline]
for _step in test_pipeline:
    if _step['type'] == 'LoadSurroundImages':
        _step['size'] = image_size
    elif _step['type'] == 'LoadSweeps':
        _step['sweeps_num'] = sweeps_num
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    persistent_workers=False,
    drop_last=True,
    dataset=dict(pipeline=train_pipeline))
test_dataloader = dict(
    batch_size=4, num_workers=0, persistent_workers=False, dataset=dict(pipeline=test_pipeline))
seeded_data = True
image_weights = dict(  # of model.inherit: every student's image side begins with those of images.py
    type='prefix',
    prefix='img_',
    teacher_prefix='img_',
    teacher=dict(
        config='kd3d::demo/camera/images.py',
        checkpoint='work_dirs/camera_demo/images/student.pth',
        allow_uncertified=True))  # it finds no boxes that could be measured
epochs = 6
train_cfg = dict(max_epochs=epochs)
param_scheduler = dict(total_steps=epochs)
val_dataloader = None
val_evaluator = None
default_hooks = dict(logger=dict(interval=25), checkpoint=dict(interval=4, max_keep_ckpts=1))
