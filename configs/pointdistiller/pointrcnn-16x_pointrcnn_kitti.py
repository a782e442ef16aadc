# Queries (of a frame) and neighbours as published, channels as wide as the student's points. As the
# authors do: official_parity=True; the default scales importance to [0, 1], temperature 0.1.
_base_ = '../baseline/pointrcnn-16x_kitti.py'
model = dict(
    teachers=dict(
        teacher=dict(
            type='Frozen',
            config='kd3d::teachers/pointrcnn_kitti.py',
            # Or mmdet3d's public weights of that config (untried): model zoo,
            # point-rcnn_8xb2_kitti-3d-3class
            checkpoint='work_dirs/pointrcnn_kitti/student.pth')),
    method=dict(
        type='pointdistiller', variant='point', queries=6000, neighbours=128,
        channels=32))
