# The LiDAR teacher's boxes as labels of the frames that have none; a sweep may name a method.
_base_ = './few_labels.py'
model = dict(
    teachers=dict(
        teacher=dict(
            type='Frozen',
            config='benchmarks/camera/configs/lidar_teacher.py',
            checkpoint='work_dirs/camera/lidar_teacher/student.pth',
            precision='bfloat16')),  # faster where the CPU has it
    labels=dict(score=0.3))
