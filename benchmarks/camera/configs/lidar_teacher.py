# CenterPoint on 0.4 m pillars in the student's frame, range and cells; no images. 8 epochs of batch 2.
_base_ = '../../../configs/demo/camera/teacher.py'
