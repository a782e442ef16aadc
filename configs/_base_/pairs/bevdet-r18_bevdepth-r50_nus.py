# The compact camera student and a larger camera teacher.
_base_ = '../../baseline/bevdet-r18_nus.py'
model = dict(
    teachers=dict(
        teacher=dict(
            type='Frozen',
            config='kd3d::teachers/bevdepth-r50_nus.py',
            checkpoint='work_dirs/bevdepth-r50_nus/student.pth')))
