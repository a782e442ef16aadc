# The compact camera detector alone; LiDAR points supervise its depth, as that of every student.
_base_ = './_base_.py'
model = dict(type='Distiller', student=dict(config='benchmarks/camera/configs/student.py'))
