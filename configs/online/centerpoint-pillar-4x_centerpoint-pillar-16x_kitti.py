# Mutual learning: two compact students of other widths teach each other's head and BEV map while
# both train. The peer is exported beside the student: <work_dir>/peer.pth, kd3d test --model peer.
_base_ = '../baseline/centerpoint-pillar-4x_kitti.py'
model = dict(
    teachers=dict(
        peer=dict(
            type='Online',
            config='kd3d::baseline/centerpoint-pillar-16x_kitti.py')),
    method=[dict(type='response', teacher='peer'), dict(type='fitnets', teacher='peer')])
