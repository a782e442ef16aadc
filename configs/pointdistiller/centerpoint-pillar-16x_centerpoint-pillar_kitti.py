# Queries, neighbours and channels as published for 16 times fewer parameters. As the authors do:
# official_parity=True, temperature=1e-4; the default scales importance to [0, 1], temperature 0.1.
_base_ = '../_base_/pairs/centerpoint-pillar-16x_centerpoint-pillar_kitti.py'
model = dict(
    method=dict(
        type='pointdistiller', variant='voxel', queries=12000, neighbours=128, channels=16))
