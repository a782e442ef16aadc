# BEV maps interchanged through one auto-encoder, and attention over the heads' channels. Detection
# and distillation are mixed half and half, as in the paper; weights not tuned on KITTI.
_base_ = '../baseline/centerpoint-pillar-4x_kitti.py'
model = dict(
    task_weight=0.5,  # and the method's default weights are 0.5
    teachers=dict(
        teacher=dict(
            type='Frozen',
            config='kd3d::teachers/centerpoint-pillar_kitti.py',
            checkpoint='work_dirs/centerpoint-pillar_kitti/student.pth')),
    method=dict(type='itkd'))
