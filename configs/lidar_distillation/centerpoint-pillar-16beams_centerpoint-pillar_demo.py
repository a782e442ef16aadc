# LiDAR Distillation on the demo's simulated data and small CenterPoint, from nothing: a model of all
# beams, then 64 -> 32 -> 16, each as long as the demo's trainings. The config itself is the last
# stage. 45 of the 64 beams lie in the camera's view.
_base_ = '../demo/teacher.py'
within = dict(
    type='PointsRangeFilter', point_cloud_range=_base_.point_cloud_range)


def seen(beams):
    thin = dict(type='ThinBeams', beams=45, beam_ratio=64 // beams)
    return ([] if beams == 64 else [thin]) + [within]


def clouds(teacher, student):
    train = [
        *_base_.train_pipeline[:4],  # load, augment: once for both models
        dict(type='SplitPoints', key='points_teacher', transforms=seen(teacher)),
        *seen(student),
        *_base_.train_pipeline[5:-1],
        dict(
            type='PackBranches',
            keys=['points', 'points_teacher', 'gt_labels_3d', 'gt_bboxes_3d'])
    ]
    load, _, pack = _base_.test_pipeline
    return dict(
        train_dataloader=dict(dataset=dict(pipeline=train)),
        test_dataloader=dict(
            dataset=dict(pipeline=[load, *seen(student), pack])))


alone = dict(teachers=None, method=None, branches=None)
stages = [
    dict(name='beams64', override=dict(model=alone, **clouds(64, 64))),
    dict(name='beams32', override=clouds(64, 32)),
    dict(name='beams16')
]
train_dataloader, test_dataloader = clouds(32, 16).values()
model = dict(
    branches=dict(teacher=dict(points='points_teacher')),
    teachers=dict(
        teacher=dict(
            type='Frozen', config='kd3d::demo/teacher.py', checkpoint=None)),
    method=dict(type='lidar_distillation'))
seeded_data = True
