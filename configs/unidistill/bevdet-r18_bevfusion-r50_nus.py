# Fusion to camera.
_base_ = '../_base_/pairs/bevdet-r18_bevfusion-r50_nus.py'
model = dict(method=dict(type='unidistill', route='fusion_to_camera'))
