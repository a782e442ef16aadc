# Two teachers, the LiDAR model and an encoder of labels, each for a third of the student's channels,
# and the response, between two LiDAR models. The encoder is trained along, not in a stage before.
_base_ = '../_base_/pairs/centerpoint-pillar-4x_centerpoint-pillar_kitti.py'
model = dict(method=dict(type='labeldistill'))
