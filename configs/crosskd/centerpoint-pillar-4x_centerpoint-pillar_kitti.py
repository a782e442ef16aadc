# CrossKD's prediction mimicking, on the student's own head;
# weight: suggested by gradient norms on the demo (DiagnosticsHook), not tuned on KITTI.
_base_ = '../_base_/pairs/centerpoint-pillar-4x_centerpoint-pillar_kitti.py'
model = dict(method=dict(type='crosskd', weight=25.0))
