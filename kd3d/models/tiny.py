"""Tiny stock detectors, pairs of them and made-up batches, to try methods in seconds on a CPU."""

from __future__ import annotations

import ast
import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from kd3d.models.source import resolve_detector

RANGE = [0.0, -6.4, -3.0, 19.2, 6.4, 1.0]  # 48 x 32 pillars of 0.4 m: not square on purpose
POINTPILLARS = "mmdet3d::pointpillars/pointpillars_hv_secfpn_8xb6-160e_kitti-3d-3class.py"
POINTRCNN = "mmdet3d::point_rcnn/point-rcnn_8xb2_kitti-3d-3class.py"
Detector = dict[str, Any]


def pointpillars(width: float = 0.25, depth: float = 0.34, voxel_m: float = 0.4) -> Detector:
    """Return PointPillars (Anchor3DHead)."""
    columns, rows, size = _grid(voxel_m, 4)
    override = dict(
        data_preprocessor=dict(voxel_layer=dict(point_cloud_range=RANGE, voxel_size=size)),
        voxel_encoder=dict(voxel_size=size, point_cloud_range=RANGE),
        middle_encoder=dict(output_shape=[rows, columns]),
        bbox_head=_anchors(),
    )
    return _tiny(POINTPILLARS, override, width, depth)


def second(width: float = 0.25, depth: float = 0.34, voxel_m: float = 0.1) -> Detector:
    """Return SECOND (sparse convolutions, Anchor3DHead)."""
    columns, rows, size = _grid(voxel_m, 0.1)
    override = dict(
        data_preprocessor=dict(voxel_layer=dict(point_cloud_range=RANGE, voxel_size=size)),
        middle_encoder=dict(sparse_shape=[41, rows, columns]),
        bbox_head=_anchors(),
    )
    config = "mmdet3d::second/second_hv_secfpn_8xb6-80e_kitti-3d-3class.py"
    return _tiny(config, override, width, depth)


def centerpoint(width: float = 0.25, depth: float = 0.34, voxel_m: float = 0.4) -> Detector:
    """Return CenterPoint on pillars (CenterHead)."""
    columns, rows, size = _grid(voxel_m, 4)
    override = _center(size, columns, rows, 1)
    override["pts_voxel_encoder"] = dict(voxel_size=size, point_cloud_range=RANGE)
    override["pts_middle_encoder"] = dict(output_shape=(rows, columns))
    return _tiny("kd3d::_base_/models/centerpoint_pillar04_demo.py", override, width, depth)


def centerpoint_voxel(width: float = 0.25, depth: float = 0.34, voxel_m: float = 0.1) -> Detector:
    """Return CenterPoint on voxels (sparse convolutions, CenterHead)."""
    columns, rows, size = _grid(voxel_m, 0.1)
    override = _center(size, columns, rows, 40)
    override["pts_voxel_encoder"] = dict(num_features=4)
    override["pts_middle_encoder"] = dict(
        in_channels=4,
        sparse_shape=[41, rows, columns],
        encoder_channels=((16, 32), (32, 64), (64, 128), (128,)),
        encoder_paddings=((0, 1), (0, 1), (0, [0, 1, 1]), (0,)),
    )
    override["train_cfg"]["pts"]["code_weights"] = [1.0] * 8 + [0.0] * 2
    head = override["pts_bbox_head"]
    head["tasks"] = [dict(num_class=3, class_names=["Pedestrian", "Cyclist", "Car"])]
    head["bbox_coder"]["max_num"] = 100
    config = "mmdet3d::_base_/models/centerpoint_voxel01_second_secfpn_nus.py"
    return _tiny(config, override, width, depth)


def pointrcnn(width: float = 0.125, rois: int = 8) -> Detector:
    """Return PointRCNN (PointNet++, two stages)."""
    override = dict(
        backbone=dict(num_points=(64, 32, 16, 8), num_samples=((4, 8),) * 4),
        roi_head=dict(
            bbox_roi_extractor=dict(roi_layer=dict(num_sampled_points=32)),
            bbox_head=dict(num_points=(16, 8, -1), num_samples=(4, 4, 4)),
        ),
        train_cfg=dict(rcnn=dict(sampler=dict(num=rois))),
        test_cfg=dict(rpn=dict(nms_cfg=dict(nms_pre=64, nms_post=rois))),
    )
    return _tiny(POINTRCNN, override, width, None)


FAMILIES: dict[str, Callable[..., Detector]] = {
    "centerpoint": centerpoint,
    "pointpillars": pointpillars,
    "second": second,
    "centerpoint_voxel": centerpoint_voxel,
    "pointrcnn": pointrcnn,
}
VELOCITY = ("centerpoint", "centerpoint_voxel")  # families whose boxes have 9 values


@dataclass(frozen=True)
class Pair:
    """A student and a wider teacher, twice as wide.

    Attributes:
        student: Family.
        teacher: Family.
        meaning: In words, for tables.
        options: Of the teacher's maker.
        width: The teacher's.
        needs_objects: Whether stock mmdet3d cannot train the student on frames without objects.
    """

    student: str
    teacher: str
    meaning: str
    options: tuple[tuple[str, Any], ...] = ()
    width: float = 0.5
    needs_objects: bool = False

    def detectors(self, same: bool = False) -> tuple[Detector, Detector]:
        """Return the student's and the teacher's model dicts; `same`: two of the student's."""
        student = FAMILIES[self.student]()
        if same:
            return student, FAMILIES[self.student]()
        return student, FAMILIES[self.teacher](width=self.width, **dict(self.options))

    @property
    def box_dim(self) -> int:
        """Values of a ground-truth box, which the student is trained with."""
        return 9 if self.student in VELOCITY else 7


_FINE = (("voxel_m", 0.2),)
PAIRS: dict[str, Pair] = {
    "centerpoint": Pair("centerpoint", "centerpoint", "CenterPoint on pillars"),
    "pointpillars": Pair("pointpillars", "pointpillars", "PointPillars"),
    "second": Pair("second", "second", "SECOND"),
    "centerpoint voxel": Pair("centerpoint_voxel", "centerpoint_voxel", "CenterPoint on voxels"),
    "centerpoint finer": Pair(
        "centerpoint", "centerpoint", "CenterPoint; the teacher's pillars are half as long", _FINE
    ),
    "pointpillars finer": Pair(
        "pointpillars", "pointpillars", "PointPillars; the teacher's pillars half as long", _FINE
    ),
    "voxels to pillars": Pair(
        "centerpoint", "centerpoint_voxel", "CenterPoint on pillars from CenterPoint on voxels"
    ),
    "anchors to centres": Pair("centerpoint", "second", "CenterPoint on pillars from SECOND"),
    "pointrcnn": Pair("pointrcnn", "pointrcnn", "PointRCNN", width=0.25, needs_objects=True),
}


def batch(samples: int = 2, seed: int = 0, box_dim: int = 9, boxes: int = 3) -> dict[str, Any]:
    """Return a raw collated batch: clouds with dense boxes inside `RANGE`.

    Args:
        samples: Number of clouds.
        seed: Of the points.
        box_dim: 7, or 9 with a velocity of 0.
        boxes: Boxes in a cloud.
    """
    from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes
    from mmengine.structures import InstanceData

    generator = torch.Generator().manual_seed(seed)
    clouds: list[torch.Tensor] = []
    annotated: list[Det3DDataSample] = []
    low, high = torch.tensor(RANGE[:3] + [0.0]), torch.tensor(RANGE[3:] + [1.0])
    for _ in range(samples):
        cloud = low + torch.rand((600, 4), generator=generator) * (high - low)
        centre = (
            low[:3] + (0.2 + 0.6 * torch.rand((boxes, 3), generator=generator)) * ((high - low)[:3])
        )
        size = torch.tensor([3.9, 1.6, 1.5]).expand(boxes, 3)
        yaw = torch.rand((boxes, 1), generator=generator) * 3
        tensor = torch.cat([centre, size, yaw, torch.zeros(boxes, 2)], 1)[:, :box_dim]
        for box in tensor:
            near = box[:3] + 0.8 * torch.randn((40, 3), generator=generator)
            cloud = torch.cat(
                [cloud, torch.cat([near, torch.rand((40, 1), generator=generator)], 1)]
            )
        sample = Det3DDataSample(
            metainfo=dict(box_type_3d=LiDARInstance3DBoxes, sample_idx=len(clouds))
        )
        sample.gt_instances_3d = InstanceData(
            bboxes_3d=LiDARInstance3DBoxes(tensor, box_dim=box_dim),
            labels_3d=torch.arange(boxes) % 3,
        )
        clouds.append(cloud)
        annotated.append(sample)
    return {"inputs": {"points": clouds}, "data_samples": annotated}


def _grid(voxel_m: float, height_m: float) -> tuple[int, int, list[float]]:
    """Return columns, rows and the size of a voxel."""
    columns, rows = (round((RANGE[i + 3] - RANGE[i]) / voxel_m) for i in (0, 1))
    return columns, rows, [voxel_m, voxel_m, height_m]


def _anchors() -> Detector:
    ranges = [[RANGE[0], RANGE[1], z, RANGE[3], RANGE[4], z] for z in (-0.6, -0.6, -1.78)]
    return dict(anchor_generator=dict(ranges=ranges))


def _center(size: list[float], columns: int, rows: int, layers: int) -> Detector:
    """Return what a CenterPoint says of its grid, wherever it says it."""
    coder: Detector = dict(pc_range=RANGE[:2], voxel_size=size[:2])
    return dict(
        data_preprocessor=dict(voxel_layer=dict(point_cloud_range=RANGE, voxel_size=size)),
        pts_bbox_head=dict(bbox_coder=coder),
        train_cfg=dict(
            pts=dict(point_cloud_range=RANGE, grid_size=[columns, rows, layers], voxel_size=size)
        ),
        test_cfg=dict(pts=dict(pc_range=RANGE[:2], voxel_size=size[:2])),
    )


def _tiny(config: str, override: Detector, width: float, depth: float | None) -> Detector:
    return copy.deepcopy(_resolved(config, repr(override), width, depth))


@functools.cache
def _resolved(config: str, override: str, width: float, depth: float | None) -> Detector:
    shrink = dict(width=width) | ({} if depth is None else dict(depth=depth))
    return resolve_detector(dict(config=config, override=ast.literal_eval(override), shrink=shrink))
