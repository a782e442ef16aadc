# PointPillars, mmdet3d's stock KITTI model: 4.8 million parameters.
_base_ = [
    '../_base_/default_runtime.py', '../_base_/datasets/kitti-3d-3class.py',
    '../_base_/schedules/cyclic-80e.py'
]
model = dict(
    type='Distiller',
    student=dict(
        config='mmdet3d::pointpillars/pointpillars_hv_secfpn_8xb6-160e_kitti-3d-3class.py'))
