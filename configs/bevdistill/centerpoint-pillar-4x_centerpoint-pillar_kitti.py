# Dense imitation near objects and sparse transfer at the teacher's boxes, between two LiDAR models.
# The paper's weights are for sums over channels and decoder queries; the defaults are not tuned.
_base_ = '../_base_/pairs/centerpoint-pillar-4x_centerpoint-pillar_kitti.py'
model = dict(method=dict(type='bevdistill'))
