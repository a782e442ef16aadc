# Imitation where objects are and were, and the distribution of the depth, of a fusion teacher.
_base_ = '../_base_/pairs/bevdet-r18_bevfusion-r50_nus.py'
model = dict(method=dict(type='vcd', depth=1.0))
