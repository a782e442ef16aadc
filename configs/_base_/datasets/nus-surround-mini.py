# nus-surround on v1.0-mini (eight drives to train on, two to test on): kd3d prepare nuscenes
# --data-root data/nuscenes --version v1.0-mini --sweeps 9.
_base_ = './nus-surround.py'
mini = dict(dataset=dict(metainfo=dict(version='v1.0-mini')))
train_dataloader = mini
val_dataloader = mini
test_dataloader = mini
