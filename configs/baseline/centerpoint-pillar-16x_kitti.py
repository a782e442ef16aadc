# The compact student alone: a quarter of the teacher's channels, about 16 times fewer parameters.
_base_ = '../teachers/centerpoint-pillar_kitti.py'
model = dict(student=dict(shrink=dict(width=0.25)))
