# The image side of bevdet_small_demo alone: it learns the depth of LiDAR points, without labels, and
# detectors begin with its weights.
_base_ = './bevdet_small_demo.py'
model = dict(
    type='DepthPretraining',
    init_cfg=None,
    pts_backbone=None,
    pts_neck=None,
    pts_bbox_head=None,
    train_cfg=None,
    test_cfg=None)
