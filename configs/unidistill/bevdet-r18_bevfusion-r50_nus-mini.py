# The same as bevdet-r18_bevfusion-r50_nus.py on v1.0-mini.
_base_ = '../_base_/pairs/bevdet-r18_bevfusion-r50_nus-mini.py'
model = dict(method=dict(type='unidistill', route='fusion_to_camera'))
