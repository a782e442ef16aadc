# Imitation where objects are and were, and the distribution of the depth and the occupancy that it
# implies, of a fusion teacher. The student has the teacher's bins: 2 to 58 m.
_base_ = '../_base_/pairs/bevdet-r18_bevfusion-r50_nus.py'
model = dict(
    student=dict(override=dict(view_transform=dict(depth=[2.0, 58.0, 0.5]))),
    method=dict(type='vcd', depth=1.0, occupancy=1.0))
