# The compact camera student alone, its depth supervised by LiDAR points as that of every student here.
_base_ = '../teachers/bevdepth-r50_nus.py'
model = dict(
    student=dict(
        config='kd3d::_base_/models/bevdet_r18_nus.py',
        override=dict(depth_loss=dict(weight=3.0, kind='binary'))))
