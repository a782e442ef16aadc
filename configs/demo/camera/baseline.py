# The camera student alone; LiDAR points supervise its depth, as that of the distilled one. Its images
# begin with the weights of images.py.
_base_ = './_base_.py'
_images = dict(type='Pretrained', checkpoint='work_dirs/camera_demo/images/student.pth')
model = dict(
    type='Distiller',
    student=dict(
        config='kd3d::_base_/models/bevdet_small_demo.py',
        override=dict(
            img_backbone=dict(init_cfg=dict(_delete_=True, prefix='img_backbone.', **_images)),
            img_neck=dict(init_cfg=dict(prefix='img_neck.', **_images)),
            img_depth_net=dict(init_cfg=dict(prefix='img_depth_net.', **_images)))))
