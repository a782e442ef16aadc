# It begins with the LiDAR teacher's map encoder and head, too. No teacher is asked in training: a step
# costs what it costs alone.
_base_ = './shared_baseline.py'
model = dict(
    inherit=[
        *_base_.model.inherit,
        dict(
            type='handover',
            parts=['backbone', 'neck', 'bbox_head'],
            teacher=dict(
                config='benchmarks/camera/configs/shared_lidar.py',
                checkpoint='work_dirs/camera/shared_lidar/student.pth'))
    ])
