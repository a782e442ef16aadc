# BEV maps interchanged through one auto-encoder, and attention over the heads' channels. Detection
# and distillation are mixed half and half, as in the paper; weights not tuned on KITTI.
_base_ = '../_base_/pairs/centerpoint-pillar-4x_centerpoint-pillar_kitti.py'
model = dict(
    task_weight=0.5,  # and the method's default weights are 0.5
    method=dict(type='itkd'))
