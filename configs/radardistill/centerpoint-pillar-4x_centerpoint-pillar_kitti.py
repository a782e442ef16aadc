# RadarDistill's two terms between two LiDAR models. The paper's weights are for sums over sparse maps
# (5, 25); the defaults are for means (1, 1), not tuned on KITTI.
_base_ = '../baseline/centerpoint-pillar-4x_kitti.py'
model = dict(
    teachers=dict(
        teacher=dict(
            type='Frozen',
            config='kd3d::teachers/centerpoint-pillar_kitti.py',
            checkpoint='work_dirs/centerpoint-pillar_kitti/student.pth')),
    method=dict(type='radardistill'))
