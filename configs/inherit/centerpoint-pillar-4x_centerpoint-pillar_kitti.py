# The student begins as the leading half of its teacher's channels (SparseKD's TGI, FNAV2), then
# imitates its responses. Without `method` it is the initialisation alone that helps.
_base_ = '../response/centerpoint-pillar-4x_centerpoint-pillar_kitti.py'
model = dict(inherit=dict(type='FNAV2', teacher='teacher'))
