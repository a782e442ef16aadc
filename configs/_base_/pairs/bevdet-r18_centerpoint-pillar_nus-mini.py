# The compact camera student and a teacher that was trained and certified on v1.0-mini.
_base_ = '../../baseline/bevdet-r18_nus-mini.py'
model = dict(
    teachers=dict(
        teacher=dict(
            type='Frozen',
            config='kd3d::teachers/centerpoint-pillar_nus-mini.py',
            checkpoint='work_dirs/centerpoint-pillar_nus-mini/student.pth')))
