# Features, a discriminator and the teacher's confident detections, between two LiDAR models.
_base_ = '../_base_/pairs/centerpoint-pillar-4x_centerpoint-pillar_kitti.py'
model = dict(method=dict(type='x3kd'))
