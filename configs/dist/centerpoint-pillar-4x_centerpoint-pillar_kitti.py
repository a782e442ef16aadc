# Correlation of class scores within and across cells;
# weight: suggested by gradient norms on the demo (DiagnosticsHook), not tuned on KITTI.
_base_ = '../_base_/pairs/centerpoint-pillar-4x_centerpoint-pillar_kitti.py'
model = dict(method=dict(type='dist', weight=6.0))
