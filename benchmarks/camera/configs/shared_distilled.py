# It begins with the LiDAR teacher's map encoder and head, and is taught by it; a sweep names the method.
_base_ = './shared_inherit.py'
model = dict(
    teachers=dict(
        teacher=dict(
            type='Frozen',
            config='benchmarks/camera/configs/shared_lidar.py',
            checkpoint='work_dirs/camera/shared_lidar/student.pth',
            precision='bfloat16')),  # faster where the CPU has it
    method=dict(type='fitnets'))
