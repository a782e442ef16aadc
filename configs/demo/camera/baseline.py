# The camera student alone; LiDAR points supervise its depth, as that of the distilled one. Its image side
# begins with the weights of images.py.
_base_ = './_base_.py'
model = dict(
    type='Distiller',
    student=dict(config='kd3d::_base_/models/bevdet_shared_demo.py'),
    inherit=[
        dict(
            type='prefix',
            prefix='img_',
            teacher_prefix='img_',
            teacher=dict(
                config='kd3d::demo/camera/images.py',
                checkpoint='work_dirs/camera_demo/images/student.pth',
                allow_uncertified=True))  # it finds no boxes that could be measured
    ])
