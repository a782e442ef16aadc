# Dense imitation near objects, contrast and boxes at the LiDAR teacher's detections. The paper
# trains 24 epochs without augmenting the scene.
_base_ = '../_base_/pairs/bevdet-r18_centerpoint-pillar_nus.py'
model = dict(method=dict(type='bevdistill'))
