# The same as bevdet-r18_centerpoint-pillar_nus.py on v1.0-mini.
_base_ = '../_base_/pairs/bevdet-r18_centerpoint-pillar_nus-mini.py'
model = dict(method=dict(type='tigbev', depth=1.0))
train_pipeline = [
    dict(step, objects=True) if step['type'] == 'DepthMaps' else step
    for step in _base_.train_pipeline
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
