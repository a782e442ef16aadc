# Two teachers, the LiDAR model and an encoder of labels, each for a third of the student's channels,
# and the response. The encoder is trained along, not in a stage before.
_base_ = '../_base_/pairs/bevdet-r18_centerpoint-pillar_nus.py'
model = dict(method=dict(type='labeldistill'))
