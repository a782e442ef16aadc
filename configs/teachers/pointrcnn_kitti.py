# PointRCNN, mmdet3d's stock KITTI model: 4.0 million parameters. It samples points at random, in
# tests too; a seed fixes them. Its test batch holds one frame, as numbers of proposals differ.
_base_ = [
    '../_base_/default_runtime.py', '../_base_/datasets/kitti-3d-3class-points.py',
    '../_base_/schedules/cyclic-80e_points.py'
]
model = dict(
    type='Distiller',
    student=dict(config='mmdet3d::point_rcnn/point-rcnn_8xb2_kitti-3d-3class.py'))
