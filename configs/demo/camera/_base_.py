# Data and budget of the camera demo: simulated nuScenes, small pictures, batch 4.
_base_ = ['../../_base_/default_runtime.py', '../../_base_/datasets/nus-surround.py']
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
    num_workers=0,
    persistent_workers=False,
    drop_last=True,
    dataset=dict(pipeline=train_pipeline))
test_dataloader = dict(
    batch_size=4, num_workers=0, persistent_workers=False, dataset=dict(pipeline=test_pipeline))
seeded_data = True
val_dataloader = None
val_evaluator = None
val_cfg = None
test_cfg = dict()
epochs = 12
lr = 4e-3
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=lr, betas=(0.9, 0.99), weight_decay=0.01),
    clip_grad=dict(max_norm=10, norm_type=2))
param_scheduler = dict(
    type='OneCycleLR', eta_max=lr, pct_start=0.3, total_steps=epochs, by_epoch=True,
    convert_to_iter_based=True)
default_hooks = dict(logger=dict(interval=25), checkpoint=dict(interval=4, max_keep_ckpts=1))
