# The student imitates the teacher's scores at objects and is trained on its confident boxes as well.
# Weights and score threshold are the paper's for pillars on Waymo, not tuned on KITTI.
_base_ = '../_base_/pairs/centerpoint-pillar-4x_centerpoint-pillar_kitti.py'
model = dict(method=dict(type='sparsekd', scores=7.0, boxes=0.0, labels=dict(score=0.6)))
