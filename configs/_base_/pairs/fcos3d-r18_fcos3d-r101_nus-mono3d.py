# A compact FCOS3D and its trained, certified teacher of the same head; a method's config adds the method.
_base_ = '../../baseline/fcos3d-r18_nus-mono3d.py'
model = dict(
    teachers=dict(
        teacher=dict(
            type='Frozen',
            config='kd3d::teachers/fcos3d-r101_nus-mono3d.py',
            checkpoint='work_dirs/fcos3d-r101_nus-mono3d/student.pth')))
