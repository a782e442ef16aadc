# A camera student and a fusion teacher: lifted maps, LiDAR maps, last maps, predictions. The paper's
# student makes up the LiDAR map in a branch of its own; here its early map stands for it.
_base_ = '../_base_/pairs/bevdet-r18_bevfusion-r50_nus.py'
model = dict(method=dict(type='simdistill'))
