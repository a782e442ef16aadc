# The inner structure of objects: of points and channels as in the LiDAR teacher's map, and of depths
# as the LiDAR measured them, for which DepthMaps says which object a cell shows.
_base_ = '../_base_/pairs/bevdet-r18_centerpoint-pillar_nus.py'
model = dict(method=dict(type='tigbev', depth=1.0))
train_pipeline = [
    dict(step, objects=True) if step['type'] == 'DepthMaps' else step
    for step in _base_.train_pipeline
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
