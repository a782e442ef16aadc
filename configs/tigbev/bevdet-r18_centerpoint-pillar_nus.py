# The inner structure of objects in the LiDAR teacher's map. Its inner depth needs the objects' pixels
# and has no term.
_base_ = '../_base_/pairs/bevdet-r18_centerpoint-pillar_nus.py'
model = dict(method=dict(type='tigbev'))
