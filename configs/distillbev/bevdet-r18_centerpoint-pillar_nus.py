# Objects, false alarms and background of the LiDAR teacher's map apart.
_base_ = '../_base_/pairs/bevdet-r18_centerpoint-pillar_nus.py'
model = dict(method=dict(type='distillbev'))
