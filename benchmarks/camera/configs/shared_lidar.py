# CenterPoint on 0.8 m pillars, with the map encoder and head of the student. 6 epochs of batch 2.
_base_ = './lidar_teacher.py'
model = dict(student=dict(config='kd3d::_base_/models/centerpoint_pillar08_nusdemo.py'))
