# nuScenes: PointPillars with a feature pyramid, mmdet3d's data, schedule and metric; graphs of the
# pyramid's finest level, channels as published. Only built and stepped on made-up points here: no
# nuScenes data were at hand. The teacher may be mmdet3d's public weights of its config.
_base_ = 'mmdet3d::pointpillars/pointpillars_hv_fpn_sbn-all_8xb4-2x_nus-3d.py'
detector = 'mmdet3d::pointpillars/pointpillars_hv_fpn_sbn-all_8xb4-2x_nus-3d.py'
model = dict(
    _delete_=True,
    type='Distiller',
    student=dict(config=detector, shrink=dict(width=0.5)),
    teachers=dict(
        teacher=dict(
            type='Frozen',
            config=detector,
            checkpoint='work_dirs/pointpillars-fpn_nus/student.pth')),
    method=dict(type='pointdistiller', variant='bev', tap='bev', queries=256, channels=64))
