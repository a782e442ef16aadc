# CRKD's terms for a camera student of a LiDAR teacher; the paper's student has radar, too.
_base_ = '../_base_/pairs/bevdet-r18_centerpoint-pillar_nus.py'
model = dict(method=dict(type='crkd'))
