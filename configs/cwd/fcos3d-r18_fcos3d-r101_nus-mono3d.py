# Channel-wise imitation of all five levels of the feature pyramid, and the class scores of the same
# head, softened.
_base_ = '../_base_/pairs/fcos3d-r18_fcos3d-r101_nus-mono3d.py'
model = dict(
    method=[
        *[dict(type='cwd', tap=f'neck.{i}', name=f'level{i}', weight=0.2) for i in range(5)],
        dict(type='kd')
    ])
