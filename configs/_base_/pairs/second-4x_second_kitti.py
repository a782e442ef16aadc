# The compact student and its trained, certified teacher; a method's config adds the method.
_base_ = '../../baseline/second-4x_kitti.py'
model = dict(
    teachers=dict(
        teacher=dict(
            type='Frozen',
            config='kd3d::teachers/second_kitti.py',
            # Or mmdet3d's public weights of that config (untried): model zoo,
            # second_hv_secfpn_8xb6-80e_kitti-3d-3class
            checkpoint='work_dirs/second_kitti/student.pth')))
