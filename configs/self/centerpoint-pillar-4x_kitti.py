# Self-distillation: the student's own moving average is its teacher, whose say rises from nothing.
_base_ = '../baseline/centerpoint-pillar-4x_kitti.py'
model = dict(
    teachers=dict(teacher=dict(type='EMA', momentum=0.999)),
    method=dict(type='response', scores=dict(type='warmup', value=1.0, until=0.3)))
