# The compact student and its trained, certified teacher; a method's config adds the method.
_base_ = '../../baseline/centerpoint-voxel-4x_kitti.py'
model = dict(
    teachers=dict(
        teacher=dict(
            type='Frozen',
            config='kd3d::teachers/centerpoint-voxel_kitti.py',
            checkpoint='work_dirs/centerpoint-voxel_kitti/student.pth')))
