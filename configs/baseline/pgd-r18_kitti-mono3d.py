# A compact PGD alone, on its teacher's data and schedule.
_base_ = '../teachers/pgd-r101_kitti-mono3d.py'
model = dict(student=dict(config='kd3d::_base_/models/pgd_r18_kitti-mono3d.py'))
