# A narrow CenterPoint alone: a quarter of the LiDAR teacher's parameters.
_base_ = '../teachers/centerpoint-pillar_nus.py'
model = dict(student=dict(shrink=dict(width=0.5)))
