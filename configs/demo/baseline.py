# The compact student alone: the teacher's network at half its width and a third of its depth.
_base_ = './_base_.py'
model = dict(
    type='Distiller',
    student=dict(
        config='kd3d::_base_/models/centerpoint_pillar04_demo.py',
        shrink=dict(width=0.5, depth=0.34)))
