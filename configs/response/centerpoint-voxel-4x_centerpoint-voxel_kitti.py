# The student learns from the teacher's head; the method's default weights, not tuned on KITTI.
_base_ = '../_base_/pairs/centerpoint-voxel-4x_centerpoint-voxel_kitti.py'
model = dict(method=dict(type='response'))
