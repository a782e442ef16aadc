# The same student with the teacher; a sweep names the method.
_base_ = './voxel_baseline.py'
model = dict(
    teachers=dict(
        teacher=dict(
            type='Frozen',
            config='benchmarks/lidar/configs/families/voxel_teacher.py',
            checkpoint='work_dirs/lidar/families/voxel_teacher/student.pth')),
    method=dict(type='response'))
