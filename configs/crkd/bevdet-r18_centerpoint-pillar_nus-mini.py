# The same as bevdet-r18_centerpoint-pillar_nus.py on v1.0-mini.
_base_ = '../_base_/pairs/bevdet-r18_centerpoint-pillar_nus-mini.py'
model = dict(method=dict(type='crkd'))
