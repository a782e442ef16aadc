# A larger camera teacher where the LiDAR, which the student need not have, sees something.
_base_ = '../_base_/pairs/bevdet-r18_bevdepth-r50_nus.py'
model = dict(method=dict(type='bev_lgkd', depth=1.0))
