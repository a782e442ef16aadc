# A narrow LiDAR student and a fusion teacher.
_base_ = './centerpoint-pillar-4x_bevdepth-r50_nus.py'
model = dict(
    teachers=dict(
        teacher=dict(
            config='kd3d::teachers/bevfusion-r50_nus.py',
            checkpoint='work_dirs/bevfusion-r50_nus/student.pth')))
