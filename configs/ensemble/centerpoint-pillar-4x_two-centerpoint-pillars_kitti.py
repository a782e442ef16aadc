# Two teachers (other seeds, data or schedules), each weighted per frame by its agreement with the
# ground truth (CA-MKD's confidence).
_base_ = '../baseline/centerpoint-pillar-4x_kitti.py'
member = dict(type='Frozen', config='kd3d::teachers/centerpoint-pillar_kitti.py')
model = dict(
    teachers=dict(
        teacher=dict(
            type='Ensemble',
            weights='confidence',
            members=dict(
                first=dict(**member, checkpoint='work_dirs/teacher_seed0/student.pth'),
                second=dict(**member, checkpoint='work_dirs/teacher_seed1/student.pth')))),
    method=dict(type='response'))
