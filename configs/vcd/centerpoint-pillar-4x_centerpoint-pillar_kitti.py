# Imitation where objects are and were, between two LiDAR models. Depth and occupancy need cameras.
_base_ = '../_base_/pairs/centerpoint-pillar-4x_centerpoint-pillar_kitti.py'
model = dict(method=dict(type='vcd'))
