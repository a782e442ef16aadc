# The teacher's boxes as labels of the unlabelled frames, from a store that it filled once:
# kd3d cache benchmarks/lidar/configs/labels_cached.py --data-root work_dirs/lidar/data
_base_ = './few_labels.py'
model = dict(
    method=None,
    labels=dict(score=0.3),
    teachers=dict(
        teacher=dict(
            type='Cached',
            mode='canonical',
            store='work_dirs/lidar/teacher/boxes.zarr')))
