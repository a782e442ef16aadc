# The compact camera student and a fusion teacher.
_base_ = '../../baseline/bevdet-r18_nus.py'
model = dict(
    teachers=dict(
        teacher=dict(
            type='Frozen',
            config='kd3d::teachers/bevfusion-r50_nus.py',
            checkpoint='work_dirs/bevfusion-r50_nus/student.pth')))
