# Graphs of the BEV cells of both stages; sizes and temperature as published for SECOND.
# The authors' importance has no effect there (official_parity=True); here it weighs, scaled to [0, 1].
_base_ = '../_base_/pairs/second-4x_second_kitti.py'
graph = dict(
    type='pointdistiller', variant='bev', queries=256, neighbours=256, channels=32,
    temperature=1e-2)
model = dict(
    method=[dict(**graph, tap='stage0', name='graph0'), dict(**graph, tap='stage1', name='graph1')])
