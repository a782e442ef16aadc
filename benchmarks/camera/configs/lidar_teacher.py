# CenterPoint on 0.4 m pillars in the student's frame, range and cells; no images. 6 epochs of batch 2.
_base_ = '../../../configs/demo/camera/teacher.py'
epochs = 6
train_cfg = dict(max_epochs=epochs)
param_scheduler = dict(total_steps=epochs)
model = dict(student=dict(config='kd3d::_base_/models/centerpoint_pillar04_nusdemo.py'))
