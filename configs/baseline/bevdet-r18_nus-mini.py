# The compact camera student alone on v1.0-mini, its depth supervised as in bevdet-r18_nus.
_base_ = '../teachers/bevdepth-r50_nus-mini.py'
model = dict(
    student=dict(
        config='kd3d::_base_/models/bevdet_r18_nus.py',
        override=dict(depth_loss=dict(weight=3.0, kind='binary'))))
