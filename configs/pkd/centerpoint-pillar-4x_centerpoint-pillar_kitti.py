# Pearson correlation of the BEV maps: a loss without scale, so that the weight
# of its detectors (10, mmrazor's FCOS3D) transfers; not tuned on KITTI.
_base_ = '../_base_/pairs/centerpoint-pillar-4x_centerpoint-pillar_kitti.py'
model = dict(method=dict(type='pkd', weight=10.0))
