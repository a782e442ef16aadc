# SECOND, mmdet3d's stock KITTI model and schedule: 5.3 million parameters.
_base_ = [
    '../_base_/default_runtime.py', '../_base_/datasets/kitti-3d-3class-wide.py',
    'mmdet3d::_base_/schedules/cyclic-40e.py'
]
model = dict(
    type='Distiller',
    student=dict(config='mmdet3d::second/second_hv_secfpn_8xb6-80e_kitti-3d-3class.py'))
