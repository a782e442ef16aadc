# Queries, neighbours and channels as published for 4 times fewer parameters. As the authors do:
# official_parity=True, temperature=1e-2; the default scales importance to [0, 1], temperature 0.1.
_base_ = '../_base_/pairs/centerpoint-pillar-4x_centerpoint-pillar_kitti.py'
model = dict(
    method=dict(
        type='pointdistiller', variant='voxel', queries=6000, neighbours=128, channels=32))
