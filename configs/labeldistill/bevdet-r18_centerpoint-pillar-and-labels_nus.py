# LabelDistill in two stages by one command, as in the paper. First an encoder of labels is trained in
# front of the LiDAR teacher's neck and head, which stay as they are, on boxes alone (12 epochs). Then
# it is frozen, a teacher for a third of the student's channels, the LiDAR model one for another.
_base_ = '../_base_/pairs/bevdet-r18_centerpoint-pillar_nus.py'
_labels = 'kd3d::_base_/models/labels_centerpoint_pillar02_nus.py'
_lidar = dict(
    type='Frozen',
    config='kd3d::teachers/centerpoint-pillar_nus.py',
    checkpoint='work_dirs/centerpoint-pillar_nus/student.pth')
model = dict(
    teachers=dict(labels=dict(type='Frozen', config=_labels, checkpoint=None)),
    method=dict(type='labeldistill', labels='labels'))
_seen = ('LoadPointsFromFile', 'LoadAnnotations3D', 'GlobalRotScaleTrans', 'RandomFlip3D',
         'ObjectRangeFilter', 'ObjectNameFilter')
stages = [
    dict(
        name='labels',
        initialise=False,
        uncertified='it reads the ground truth, so no test set measures it',
        override=dict(
            model=dict(
                student=dict(_delete_=True, config=_labels),
                teachers=dict(_delete_=True, teacher=_lidar),
                inherit=dict(type='handover', parts=['neck', 'bbox_head']),
                method=None),
            train_dataloader=dict(
                dataset=dict(
                    pipeline=[
                        *[step for step in _base_.train_pipeline if step['type'] in _seen],
                        dict(type='Pack3DDetInputs', keys=['gt_bboxes_3d', 'gt_labels_3d'])
                    ])),
            train_cfg=dict(max_epochs=12, val_interval=12),
            param_scheduler=[
                dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=200),
                dict(type='MultiStepLR', milestones=[8, 11], gamma=0.1, by_epoch=True, end=12)
            ],
            val_dataloader=None,
            val_cfg=None,
            val_evaluator=None)),
    dict(name='student', teacher='labels', initialise=False)
]
