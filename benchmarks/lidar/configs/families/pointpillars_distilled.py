# The same student with the teacher; a sweep names the method.
_base_ = './pointpillars_baseline.py'
model = dict(
    teachers=dict(
        teacher=dict(
            type='Frozen',
            config='benchmarks/lidar/configs/families/pointpillars_teacher.py',
            precision='bfloat16',
            checkpoint='work_dirs/lidar/families/pointpillars_teacher/student.pth')),
    method=dict(type='response'))
