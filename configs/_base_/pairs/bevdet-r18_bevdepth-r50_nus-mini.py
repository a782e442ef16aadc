# The compact camera student and a teacher that was trained and certified on v1.0-mini.
_base_ = '../../baseline/bevdet-r18_nus-mini.py'
model = dict(
    teachers=dict(
        teacher=dict(
            type='Frozen',
            config='kd3d::teachers/bevdepth-r50_nus-mini.py',
            checkpoint='work_dirs/bevdepth-r50_nus-mini/student.pth')))
