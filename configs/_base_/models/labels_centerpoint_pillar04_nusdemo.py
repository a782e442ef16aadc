# The label encoder of LabelDistill for centerpoint_pillar04_nusdemo. Cells of the first map: 0.8 m.
_base_ = './centerpoint_pillar04_nusdemo.py'
custom_imports = dict(imports=['kd3d.models.bev.detectors'], allow_failed_imports=False)
model = dict(
    type='LabelDetector',
    data_preprocessor=dict(_delete_=True, type='Det3DDataPreprocessor'),
    pts_voxel_encoder=None,
    pts_middle_encoder=None,
    pts_backbone=dict(
        _delete_=True,
        type='LabelBackbone',
        classes=10,
        x=[-51.2, 51.2, 0.8],
        y=[-51.2, 51.2, 0.8],
        out_channels=[32, 64, 96],
        layer_strides=[1, 2, 2]))
