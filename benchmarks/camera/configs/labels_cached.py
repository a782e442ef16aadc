# The same labels from a store that the teacher filled once:
# kd3d cache benchmarks/camera/configs/labels_cached.py --data-root work_dirs/camera/data
_base_ = './labels.py'
model = dict(
    teachers=dict(
        teacher=dict(
            type='Cached', mode='canonical', store='work_dirs/camera/lidar_teacher/boxes.zarr')))
