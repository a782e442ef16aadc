# A larger camera teacher where the LiDAR, which the student need not have, sees something. The
# student has the teacher's bins: 2 to 58 m.
_base_ = '../_base_/pairs/bevdet-r18_bevdepth-r50_nus.py'
model = dict(
    student=dict(override=dict(view_transform=dict(depth=[2.0, 58.0, 0.5]))),
    method=dict(type='bev_lgkd', depth=1.0))
