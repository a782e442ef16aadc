# The same student, budget, seed and data order as baseline.py, with the LiDAR teacher: it begins with
# the teacher's map encoder and head, and imitates its map and its boxes.
_base_ = './baseline.py'
model = dict(
    teachers=dict(
        teacher=dict(
            type='Frozen',
            config='kd3d::demo/camera/teacher.py',
            checkpoint='work_dirs/camera_demo/teacher/student.pth',
            precision='bfloat16')),  # faster where the CPU has it
    inherit=[
        *_base_.model.inherit,
        dict(type='handover', parts=['backbone', 'neck', 'bbox_head'])
    ],
    method=dict(type='bevdistill'))
