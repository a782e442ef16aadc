# mmdet3d's FCOS3D with ResNet-101 and deformable convolutions: a camera teacher, image by image.
_base_ = [
    '../_base_/default_runtime.py', '../_base_/datasets/nus-mono3d.py',
    '../_base_/schedules/mono3d-12e.py'
]
model = dict(
    type='Distiller',
    student=dict(
        config='mmdet3d::fcos3d/fcos3d_r101-caffe-dcn_fpn_head-gn_8xb2-1x_nus-mono3d.py'))
