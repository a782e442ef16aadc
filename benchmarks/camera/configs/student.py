# The compact camera detector; its images begin with the weights of images.py, all else anew.
_base_ = '../../../configs/_base_/models/bevdet_small_demo.py'
_images = dict(type='Pretrained', checkpoint='work_dirs/camera/images/student.pth')
model = dict(
    img_backbone=dict(init_cfg=dict(_delete_=True, prefix='img_backbone.', **_images)),
    img_neck=dict(init_cfg=dict(prefix='img_neck.', **_images)),
    img_depth_net=dict(init_cfg=dict(prefix='img_depth_net.', **_images)))
