# Images joined with pillars. It begins with the weights of images.py and with the LiDAR teacher's pillars
# and head. 4 epochs of batch 2.
_base_ = './distilled.py'
epochs = 4
train_cfg = dict(max_epochs=epochs)
param_scheduler = dict(total_steps=epochs)
_images = dict(type='Pretrained', checkpoint='work_dirs/camera/images/student.pth')
model = dict(
    student=dict(
        config='kd3d::_base_/models/bevfusion_small_demo.py',
        override=dict(
            img_backbone=dict(init_cfg=dict(_delete_=True, prefix='img_backbone.', **_images)),
            img_neck=dict(init_cfg=dict(prefix='img_neck.', **_images)),
            img_depth_net=dict(init_cfg=dict(prefix='img_depth_net.', **_images)))),
    inherit=dict(type='handover', parts=['voxel_encoder', 'bbox_head']),
    method=None)
