# Queries, neighbours and channels as published for 4 times fewer parameters. As the authors do:
# official_parity=True, temperature=1e-2; the default scales importance to [0, 1], temperature 0.1.
_base_ = '../baseline/pointpillars-4x_kitti.py'
model = dict(
    teachers=dict(
        teacher=dict(
            type='Frozen',
            config='kd3d::teachers/pointpillars_kitti.py',
            # Or mmdet3d's public weights of that config (untried): model zoo,
            # pointpillars_hv_secfpn_8xb6-160e_kitti-3d-3class
            checkpoint='work_dirs/pointpillars_kitti/student.pth')),
    method=dict(
        type='pointdistiller', variant='voxel', queries=6000, neighbours=128,
        channels=32))
