# The same as bevdet-r18_bevfusion-r50_nus.py on v1.0-mini.
_base_ = '../_base_/pairs/bevdet-r18_bevfusion-r50_nus-mini.py'
model = dict(
    student=dict(override=dict(view_transform=dict(depth=[2.0, 58.0, 0.5]))),
    method=dict(type='vcd', depth=1.0, occupancy=1.0))
