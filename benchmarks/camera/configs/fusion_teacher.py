# Images joined with pillars. It begins with the camera teacher's images, the LiDAR teacher's pillars and
# head. 4 epochs of batch 2.
_base_ = './distilled.py'
epochs = 4
train_cfg = dict(max_epochs=epochs)
param_scheduler = dict(total_steps=epochs)
model = dict(
    student=dict(config='kd3d::_base_/models/bevfusion_small_demo.py'),
    teachers=dict(
        camera=dict(
            type='Frozen',
            config='benchmarks/camera/configs/camera_teacher.py',
            checkpoint='work_dirs/camera/camera_teacher/student.pth')),
    inherit=[
        dict(type='prefix', prefix='img_', teacher='camera', teacher_prefix='img_'),
        dict(type='handover', parts=['voxel_encoder', 'bbox_head'])
    ],
    method=None)
