# RadarDistill's two terms between two LiDAR models. The paper's weights are for sums over sparse maps
# (5, 25); the defaults are for means (1, 1), not tuned on KITTI.
_base_ = '../_base_/pairs/centerpoint-pillar-4x_centerpoint-pillar_kitti.py'
model = dict(method=dict(type='radardistill'))
