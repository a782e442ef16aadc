# A compact SMOKE alone, on its teacher's data and schedule.
_base_ = '../teachers/smoke-dla34_kitti-mono3d.py'
model = dict(student=dict(config='kd3d::_base_/models/smoke_r18_kitti-mono3d.py'))
