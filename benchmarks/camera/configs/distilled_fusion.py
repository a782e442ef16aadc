# The same student with the fusion teacher; a sweep names the method.
_base_ = './distilled.py'
model = dict(
    teachers=dict(
        teacher=dict(
            config='benchmarks/camera/configs/fusion_teacher.py',
            checkpoint='work_dirs/camera/fusion_teacher/student.pth')),
    method=dict(type='simdistill'))
