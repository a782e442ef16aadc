# Objects, false alarms and background apart, under the teacher's attention, between two LiDAR
# models. The paper's weights are for sums over cells and channels; the defaults are not tuned.
_base_ = '../_base_/pairs/centerpoint-pillar-4x_centerpoint-pillar_kitti.py'
model = dict(method=dict(type='distillbev'))
