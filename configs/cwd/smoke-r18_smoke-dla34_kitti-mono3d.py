# Channel-wise imitation of the one map that SMOKE's head reads. Its head gives probabilities, so
# there are no logits to soften.
_base_ = '../_base_/pairs/smoke-r18_smoke-dla34_kitti-mono3d.py'
model = dict(method=dict(type='cwd', tap='neck.0'))
