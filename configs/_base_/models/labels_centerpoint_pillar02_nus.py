# The label encoder of LabelDistill for centerpoint_pillar02_nus: labels instead of points and their
# backbone, its neck and head as they are. Cells of the first map: 0.4 m.
_base_ = './centerpoint_pillar02_nus.py'
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
        x=[-51.2, 51.2, 0.4],
        y=[-51.2, 51.2, 0.4],
        out_channels=[64, 128, 256],
        layer_strides=[1, 2, 2]))
