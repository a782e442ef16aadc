# CenterPoint with 0.05 m voxels on KITTI's classes and SECOND's range.
_base_ = [
    '../_base_/default_runtime.py', '../_base_/datasets/kitti-3d-3class-wide.py',
    '../_base_/schedules/cyclic-40e.py'
]
model = dict(
    type='Distiller', student=dict(config='kd3d::_base_/models/centerpoint_voxel005_kitti.py'))
# CenterHead's targets need boxes of nine values: see PadVelocity.
train_pipeline = [
    *_base_.train_pipeline[:-1], dict(type='PadVelocity'), _base_.train_pipeline[-1]
]
train_dataloader = dict(batch_size=4, dataset=dict(dataset=dict(pipeline=train_pipeline)))
