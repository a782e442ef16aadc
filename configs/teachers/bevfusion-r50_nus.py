# Six cameras and LiDAR joined in one map: a fusion teacher in the camera students' frame.
_base_ = [
    '../_base_/default_runtime.py', '../_base_/datasets/nus-surround.py',
    '../_base_/schedules/step-24e.py'
]
model = dict(type='Distiller', student=dict(config='kd3d::_base_/models/bevfusion_r50_nus.py'))
