# Imitation where points stand above the ground, between two LiDAR models. Depths need cameras.
_base_ = '../_base_/pairs/centerpoint-pillar-4x_centerpoint-pillar_kitti.py'
model = dict(method=dict(type='bev_lgkd'))
