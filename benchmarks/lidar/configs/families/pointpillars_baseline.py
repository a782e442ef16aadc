# A quarter of the teacher's width and a third of its depth, alone.
_base_ = './_anchor_data.py'
model = dict(
    type='Distiller',
    student=dict(
        config='benchmarks/lidar/configs/families/pointpillars_teacher.py',
        shrink=dict(width=0.25, depth=0.34)))
