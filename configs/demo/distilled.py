# The same student, budget, seed and data order as baseline.py, with a teacher.
_base_ = './baseline.py'
model = dict(
    teachers=dict(
        teacher=dict(
            type='Frozen',
            config='kd3d::demo/teacher.py',
            checkpoint='work_dirs/demo/teacher/student.pth')),
    method=[
        dict(type='response', scores=10.0, boxes=0.0),
        dict(type='fitnets', weight=1.0),
    ])
