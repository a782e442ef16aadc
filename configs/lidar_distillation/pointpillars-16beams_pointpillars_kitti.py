# LiDAR Distillation: PointPillars for a LiDAR of 16 beams, taught in two stages, 64 -> 32 -> 16.
# One command trains both: kd3d train <this file>; --resume goes on inside of a stage. The teacher of
# the first is teachers/pointpillars_kitti.py, certified. The config itself is the last stage, so
# that kd3d test measures on 16 beams. bin_ratio=2 would give the paper's 16* (half the azimuths).
# Clouds are cut to the camera's view first: 45 of the 64 beams are left (counted on simulated
# frames with KITTI's calibration).
_base_ = '../teachers/pointpillars_kitti.py'
within = dict(
    type='PointsRangeFilter', point_cloud_range=_base_.point_cloud_range)


def seen(beams):
    thin = dict(type='ThinBeams', beams=45, beam_ratio=64 // beams)
    return ([] if beams == 64 else [thin]) + [within]


def clouds(teacher, student):
    train = [
        *_base_.train_pipeline[:5],  # load, paste objects, augment: once for both models
        dict(type='SplitPoints', key='points_teacher', transforms=seen(teacher)),
        *seen(student),
        dict(
            type='ObjectRangeFilter',
            point_cloud_range=_base_.point_cloud_range),
        dict(type='PointShuffle'),
        dict(
            type='PackBranches',
            keys=['points', 'points_teacher', 'gt_labels_3d', 'gt_bboxes_3d'])
    ]
    load, _, pack = _base_.test_pipeline
    test = dict(dataset=dict(pipeline=[load, *seen(student), pack]))
    return dict(
        train_dataloader=dict(dataset=dict(times=1, dataset=dict(pipeline=train))),
        val_dataloader=test,
        test_dataloader=test)


stages = [
    dict(name='beams32', override=clouds(teacher=64, student=32)),
    dict(name='beams16')
]
train_dataloader, val_dataloader, test_dataloader = clouds(32, 16).values()
model = dict(
    branches=dict(teacher=dict(points='points_teacher')),
    teachers=dict(
        teacher=dict(
            type='Frozen',
            config='kd3d::teachers/pointpillars_kitti.py',
            checkpoint='work_dirs/pointpillars_kitti/student.pth')),
    method=dict(type='lidar_distillation'))
# The paper's schedule: 80 epochs a stage (a frame is seen 80 times), the rate up to 3e-3.
optim_wrapper = dict(optimizer=dict(lr=3e-4))
param_scheduler = [
    dict(one, eta_min=0.3 * one['eta_min']) if one['type'].endswith('LR') else one
    for one in _base_.param_scheduler
]
