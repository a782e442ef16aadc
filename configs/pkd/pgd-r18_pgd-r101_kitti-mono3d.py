# Correlation of all four levels of the feature pyramid, and the class scores of the same head,
# softened.
_base_ = '../_base_/pairs/pgd-r18_pgd-r101_kitti-mono3d.py'
model = dict(
    method=[
        *[dict(type='pkd', tap=f'neck.{i}', name=f'level{i}', weight=0.25) for i in range(4)],
        dict(type='kd')
    ])
