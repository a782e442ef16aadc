# The same student with the teacher; a sweep names the method.
_base_ = './baseline.py'
model = dict(
    teachers=dict(
        teacher=dict(
            type='Frozen',
            config='benchmarks/lidar/configs/teacher.py',
            checkpoint='work_dirs/lidar/teacher/student.pth',
            precision='bfloat16')),  # faster where the CPU has it
    method=dict(type='response', scores=10.0))
