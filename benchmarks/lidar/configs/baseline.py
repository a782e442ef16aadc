# A quarter of the teacher's width and a third of its depth, alone.
_base_ = './_base_.py'
model = dict(
    type='Distiller',
    student=dict(
        config='kd3d::_base_/models/centerpoint_pillar04_demo.py',
        shrink=dict(width=0.25, depth=0.34)))
