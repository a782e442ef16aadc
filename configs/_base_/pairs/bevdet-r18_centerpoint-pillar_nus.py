# The compact camera student and its trained, certified LiDAR teacher; a method's config adds the
# method.
_base_ = '../../baseline/bevdet-r18_nus.py'
model = dict(
    teachers=dict(
        teacher=dict(
            type='Frozen',
            config='kd3d::teachers/centerpoint-pillar_nus.py',
            checkpoint='work_dirs/centerpoint-pillar_nus/student.pth')))
