# CRKD's four terms between two LiDAR models. The paper's weights are for sums, inner products and a
# fusion teacher (100, 10, 0.25, 1); the defaults are for means (10, 2, 1, 1), not tuned on KITTI.
_base_ = '../_base_/pairs/centerpoint-pillar-4x_centerpoint-pillar_kitti.py'
model = dict(method=dict(type='crkd'))
