# BEVDet with ResNet-50 and BEVDepth's camera-aware, supervised depth: a camera teacher.
_base_ = [
    '../_base_/default_runtime.py', '../_base_/datasets/nus-surround.py',
    '../_base_/schedules/step-24e.py'
]
model = dict(type='Distiller', student=dict(config='kd3d::_base_/models/bevdepth_r50_nus.py'))
