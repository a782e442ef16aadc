# A compact SMOKE and its trained, certified teacher of the same head; a method's config adds the method.
_base_ = '../../baseline/smoke-r18_kitti-mono3d.py'
model = dict(
    teachers=dict(
        teacher=dict(
            type='Frozen',
            config='kd3d::teachers/smoke-dla34_kitti-mono3d.py',
            checkpoint='work_dirs/smoke-dla34_kitti-mono3d/student.pth')))
