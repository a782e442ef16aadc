# CRKD's four terms between two LiDAR models. The paper's weights are for sums, inner products and a
# fusion teacher (100, 10, 0.25, 1); the defaults are for means (10, 2, 1, 1), not tuned on KITTI.
_base_ = '../baseline/centerpoint-pillar-4x_kitti.py'
model = dict(
    teachers=dict(
        teacher=dict(
            type='Frozen',
            config='kd3d::teachers/centerpoint-pillar_kitti.py',
            checkpoint='work_dirs/centerpoint-pillar_kitti/student.pth')),
    method=dict(type='crkd'))
