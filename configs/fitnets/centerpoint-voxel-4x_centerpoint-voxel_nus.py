# nuScenes: CenterPoint with 0.1 m voxels, mmdet3d's data, schedule and metric; default weight. Only
# built and stepped on made-up points here: no nuScenes data were at hand. The teacher may be
# mmdet3d's public weights of its config.
_base_ = 'mmdet3d::centerpoint/centerpoint_voxel01_second_secfpn_8xb4-cyclic-20e_nus-3d.py'
detector = 'mmdet3d::centerpoint/centerpoint_voxel01_second_secfpn_8xb4-cyclic-20e_nus-3d.py'
model = dict(
    _delete_=True,
    type='Distiller',
    student=dict(config=detector, shrink=dict(width=0.5)),
    teachers=dict(
        teacher=dict(
            type='Frozen',
            config=detector,
            checkpoint='work_dirs/centerpoint-voxel_nus/student.pth')),
    method=dict(type='fitnets'))
