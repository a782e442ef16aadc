# The student imitates the teacher's BEV map at the objects; default weight, not tuned on KITTI.
_base_ = '../_base_/pairs/centerpoint-voxel-4x_centerpoint-voxel_kitti.py'
model = dict(method=dict(type='fitnets'))
