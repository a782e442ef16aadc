# A compact FCOS3D alone, on its teacher's data and schedule.
_base_ = '../teachers/fcos3d-r101_nus-mono3d.py'
model = dict(student=dict(config='kd3d::_base_/models/fcos3d_r18_nus-mono3d.py'))
