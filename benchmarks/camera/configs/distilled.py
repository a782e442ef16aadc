# The same student with the LiDAR teacher; a sweep names the method.
_base_ = './baseline.py'
model = dict(
    teachers=dict(
        teacher=dict(
            type='Frozen',
            config='benchmarks/camera/configs/lidar_teacher.py',
            checkpoint='work_dirs/camera/lidar_teacher/student.pth',
            precision='bfloat16')),  # faster where the CPU has it
    method=dict(type='distillbev'))
