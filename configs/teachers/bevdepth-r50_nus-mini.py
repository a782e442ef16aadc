# The BEVDepth teacher on v1.0-mini.
_base_ = [
    '../_base_/default_runtime.py', '../_base_/datasets/nus-surround-mini.py',
    '../_base_/schedules/mini-60e.py'
]
model = dict(type='Distiller', student=dict(config='kd3d::_base_/models/bevdepth_r50_nus.py'))
