"""Small SECOND and CenterPoint-voxel detectors on toy.RANGE: 192 x 128 x 40 voxels."""

from kd3d.models.source import resolve_detector
from tests import toy

SECOND = "mmdet3d::second/second_hv_secfpn_8xb6-80e_kitti-3d-3class.py"
CENTER_VOXEL = "mmdet3d::_base_/models/centerpoint_voxel01_second_secfpn_nus.py"
VOXEL = [0.1, 0.1, 0.1]
SHAPE = [41, 128, 192]


def second(width=0.25, depth=0.4, **shrink):
    ranges = [[toy.RANGE[0], toy.RANGE[1], z, toy.RANGE[3], toy.RANGE[4], z] for z in (-1, -1, -2)]
    layer = dict(point_cloud_range=toy.RANGE, voxel_size=VOXEL)
    override = dict(
        data_preprocessor=dict(voxel_layer=layer),
        middle_encoder=dict(sparse_shape=SHAPE),
        bbox_head=dict(anchor_generator=dict(ranges=ranges)),
    )
    return resolve_detector(
        dict(config=SECOND, override=override, shrink=dict(width=width, depth=depth, **shrink))
    )


def centerpoint_voxel(width=0.25, depth=0.4, **shrink):
    """Its sparse encoder has residual blocks."""
    layer = dict(point_cloud_range=toy.RANGE, voxel_size=VOXEL)
    override = dict(
        data_preprocessor=dict(voxel_layer=layer),
        pts_middle_encoder=dict(sparse_shape=SHAPE),
        pts_bbox_head=dict(bbox_coder=dict(pc_range=toy.RANGE[:2], voxel_size=VOXEL[:2])),
        train_cfg=dict(
            pts=dict(point_cloud_range=toy.RANGE, grid_size=[192, 128, 40], voxel_size=VOXEL)
        ),
        test_cfg=dict(pts=dict(pc_range=toy.RANGE[:2], voxel_size=VOXEL[:2])),
    )
    return resolve_detector(
        dict(
            config=CENTER_VOXEL, override=override, shrink=dict(width=width, depth=depth, **shrink)
        )
    )
