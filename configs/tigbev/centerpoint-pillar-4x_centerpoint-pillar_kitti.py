# The inner structure of objects, over points and over channels, between two LiDAR models. The
# paper's 24 x 24 points and weights 100 and 10 cost time; the defaults are not tuned on KITTI.
_base_ = '../_base_/pairs/centerpoint-pillar-4x_centerpoint-pillar_kitti.py'
model = dict(method=dict(type='tigbev'))
