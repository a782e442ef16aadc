# The same data on the range of SECOND's voxels (0.05 m, a stride of 16), augmented as mmdet3d does
# for SECOND: fewer pasted objects, and every object moved and turned by itself.
_base_ = './kitti-3d-3class.py'
point_cloud_range = [0, -40, -3, 70.4, 40, 1]
limits = dict(point_cloud_range=point_cloud_range)
train_pipeline = [
    {**step, **limits} if 'point_cloud_range' in step else step
    for step in _base_.train_pipeline
]
sampler = train_pipeline[2]['db_sampler']
sampler['sample_groups'] = dict(Car=12, Pedestrian=6, Cyclist=6)
sampler['prepare']['filter_by_min_points'] = dict(Car=5, Pedestrian=10, Cyclist=10)
train_pipeline.insert(
    3,
    dict(
        type='ObjectNoise',
        num_try=100,
        translation_std=[1.0, 1.0, 0.5],
        global_rot_range=[0.0, 0.0],
        rot_range=[-0.78539816, 0.78539816]))
test_pipeline = [
    {**step, **limits} if 'point_cloud_range' in step else step
    for step in _base_.test_pipeline
]
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
