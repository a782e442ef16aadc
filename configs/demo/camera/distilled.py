# The same student, budget, seed and data order as baseline.py, with the LiDAR teacher.
_base_ = './baseline.py'
model = dict(
    teachers=dict(
        teacher=dict(
            type='Frozen',
            config='kd3d::demo/camera/teacher.py',
            checkpoint='work_dirs/camera_demo/teacher/student.pth',
            precision='bfloat16')),  # faster where the CPU has it
    method=dict(type='bevdistill'))
