# Imitation of an early map near objects and of the last map, and the predictions, between two LiDAR
# models. The camera branch and the geometry compensation of the paper need camera models.
_base_ = '../_base_/pairs/centerpoint-pillar-4x_centerpoint-pillar_kitti.py'
model = dict(method=dict(type='simdistill'))
