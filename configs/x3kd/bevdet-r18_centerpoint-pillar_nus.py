# Features, a discriminator, and the LiDAR teacher's confident detections.
_base_ = '../_base_/pairs/bevdet-r18_centerpoint-pillar_nus.py'
model = dict(method=dict(type='x3kd'))
