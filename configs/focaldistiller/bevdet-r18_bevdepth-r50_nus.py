# A larger camera teacher near objects, and its image features.
_base_ = '../_base_/pairs/bevdet-r18_bevdepth-r50_nus.py'
model = dict(method=dict(type='focaldistiller', images=['image']))
