# Images joined with pillars. It begins with the weights of images.py and with the LiDAR teacher's pillars
# and head. 4 epochs of batch 2.
_base_ = './distilled.py'
epochs = 4
train_cfg = dict(max_epochs=epochs)
param_scheduler = dict(total_steps=epochs)
model = dict(
    student=dict(config='kd3d::_base_/models/bevfusion_small_demo.py'),
    inherit=[
        _base_.image_weights,
        dict(type='handover', parts=['voxel_encoder', 'bbox_head'])
    ],
    method=None)
