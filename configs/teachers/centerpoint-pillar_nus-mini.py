# The LiDAR teacher on v1.0-mini: three times as many epochs.
_base_ = './centerpoint-pillar_nus.py'
mini = dict(dataset=dict(metainfo=dict(version='v1.0-mini')))
train_dataloader = mini
val_dataloader = mini
test_dataloader = mini
param_scheduler = [
    dict(one, T_max=3 * one['T_max'], begin=3 * one['begin'], end=3 * one['end'])
    for one in _base_.param_scheduler
]
train_cfg = dict(max_epochs=60, val_interval=60)
