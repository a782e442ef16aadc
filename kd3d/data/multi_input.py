"""Transforms for models that see different clouds of one scene under one augmentation.

Objects pasted by ``ObjectSample`` are in one cloud only, so load the richest cloud first (all
beams, all sweeps), paste, augment, and part it afterwards::

    dict(type='SplitPoints', key='points_dense',  # the teacher's, with its own range
         transforms=[dict(type='PointsRangeFilter', point_cloud_range=teacher_range)]),
    dict(type='ThinBeams', beams=64, beam_ratio=2),  # what is left in 'points' is the student's
    dict(type='PointsRangeFilter', point_cloud_range=student_range),
    dict(type='PackBranches', keys=['points', 'points_dense', 'gt_bboxes_3d', 'gt_labels_3d'])

with ``model=dict(branches=dict(teacher=dict(points='points_dense')))``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmdet3d.datasets.transforms import Pack3DDetInputs
from mmdet3d.registry import TRANSFORMS
from mmdet3d.structures import BasePoints

from kd3d.data.augmentation import (
    augmentation_matrix,
    full_matrix,
    refuse_pasted,
    transform_points,
)
from kd3d.data.beams import beam_indices, kept_points
from kd3d.errors import UserError


@TRANSFORMS.register_module()
class SplitPoints(BaseTransform):
    """Put a copy of the cloud, changed by transforms of its own, under another key.

    Args:
        key: Where it goes, e.g. ``"points_dense"``.
        transforms: Transforms of the copy only: filters, samplers, shuffles; no augmentation.

    Raises:
        UserError: One of them moves the scene.
    """

    def __init__(self, key: str, transforms: list[dict] | None = None) -> None:
        self.key = _branch_key(key)
        self.transforms = [TRANSFORMS.build(config) for config in transforms or []]

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Set ``results[key]`` (points, N x C)."""
        results[self.key] = _own_points(results, results["points"].clone(), self.transforms)
        return results


@TRANSFORMS.register_module()
class LoadBranchPoints(BaseTransform):
    """Load another cloud of the same scene and move it by the augmentation already done.

    For a cloud that cannot be parted from ``points``, such as one of another sensor or of more
    sweeps than the data base of objects has. Put it after the augmentation.

    Args:
        key: Where it goes, e.g. ``"points_dense"``.
        load: Transforms that load it as ``points``, in the LiDAR frame.
        transforms: Transforms of the augmented cloud: filters, samplers, shuffles.

    Raises:
        UserError: Objects were pasted into the scene (this cloud would lack them), a transform
            moves the scene, or the augmentation is not recorded in full.
    """

    def __init__(self, key: str, load: list[dict], transforms: list[dict] | None = None) -> None:
        self.key = _branch_key(key)
        self.load = [TRANSFORMS.build(config) for config in load]
        self.transforms = [TRANSFORMS.build(config) for config in transforms or []]

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Set ``results[key]`` (points, N x C)."""
        why = "a cloud loaded afterwards lacks them (one that is loaded first can be split)"
        refuse_pasted(results, f"LoadBranchPoints {self.key}", why)
        points = _own_points(results, None, self.load)
        matrix = augmentation_matrix(results)
        points.tensor[:, :3] = _moved(matrix, points)
        results[self.key] = _own_points(results, points, self.transforms)
        return results


@TRANSFORMS.register_module()
class ThinBeams(BaseTransform):
    """Keep every n-th beam of a spinning LiDAR, as a sensor with fewer beams would see the scene.

    Beams are found by the elevation of each point above the sensor before the augmentation, which
    is undone for this with the sample's record; so a frame always keeps the same points. Y. Wei,
    Z. Wei, Y. Rao, J. Li, J. Zhou, J. Lu, "LiDAR Distillation: Bridging the beam-induced domain gap
    for 3D object detection", ECCV 2022, section 3.2, which clusters the same angles; of 64 beams
    its "32" is (beam_ratio, bin_ratio) = (2, 1), "32*" (2, 2), "16" (4, 1) and "16*" (4, 2).

    Args:
        beam_ratio: Keep one beam of so many.
        bin_ratio: Of a kept beam, keep one point of so many in the order of azimuth.
        beams: How many beams the cloud has, after cuts such as to a camera's view.
        first: Which beam is the first that is kept, counted from the lowest.
        key: The cloud that is thinned.
        ring: Which value of a point is its beam's number, where the data set has one (the fifth
            value of a nuScenes point, until other sweeps are joined); then beams are counted as the
            sensor counts them and `beams` has no meaning. None: they are found by elevation.

    Raises:
        UserError: Ratios that leave nothing, or a value that is no beam's number.
    """

    def __init__(
        self,
        beam_ratio: int = 2,
        bin_ratio: int = 1,
        beams: int = 64,
        first: int = 0,
        key: str = "points",
        ring: int | None = None,
    ) -> None:
        if not (0 <= first < beam_ratio <= beams and bin_ratio >= 1):
            raise UserError(
                f"first={first}, beam_ratio={beam_ratio}, beams={beams}, bin_ratio={bin_ratio}",
                "ThinBeams",
                "0 <= first < beam_ratio <= beams and bin_ratio >= 1",
            )
        self.beam_ratio, self.bin_ratio, self.first = beam_ratio, bin_ratio, first
        self.beams, self.key, self.ring = beams, key, ring

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Thin ``results[key]``."""
        points = results[self.key]
        xyz = _moved(np.linalg.inv(augmentation_matrix(results)), points).numpy()
        beam = beam_indices(xyz, self.beams) if self.ring is None else self._rings(points)
        kept = kept_points(xyz, beam, self.beam_ratio, self.bin_ratio, self.first)
        results[self.key] = points[torch.from_numpy(kept)]
        return results

    def _rings(self, points: BasePoints) -> np.ndarray:
        value = _channel(points, self.ring, self.key, "ThinBeams").numpy()
        beam = value.astype(np.int64)
        wrong = (beam != value) | (beam < 0)
        if wrong.any():
            raise UserError(
                f"value {self.ring} of a point is no beam's number, such as {value[wrong][0]:g}",
                f"ThinBeams {self.key}",
                "mmdet3d's LoadPointsFromMultiSweeps writes the time over nuScenes' ring: thin "
                "before it, or leave `ring` out",
            )
        return beam


@TRANSFORMS.register_module()
class SelectPoints(BaseTransform):
    """Keep the points of which one value lies in a range, e.g. the sweeps of the last 0.05 s.

    Args:
        channel: Which value of a point.
        low: Lowest value that is kept.
        high: Highest value that is kept.
        key: The cloud that is filtered.
    """

    def __init__(self, channel: int, low: float, high: float, key: str = "points") -> None:
        self.channel, self.low, self.high, self.key = channel, low, high, key

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Filter ``results[key]``."""
        points = results[self.key]
        value = _channel(points, self.channel, self.key, "SelectPoints")
        results[self.key] = points[(value >= self.low) & (value <= self.high)]
        return results


@TRANSFORMS.register_module()
class PackBranches(Pack3DDetInputs):
    """mmdet3d's packer, which also packs the clouds of other branches.

    The metainfo gets ``lidar_aug_matrix`` (4, 4), the sample's augmentation in the LiDAR frame;
    mmdet3d's transforms leave calibration alone, so a point p of the packed cloud is seen at
    ``lidar2img @ inverse(lidar_aug_matrix) @ p`` before the image's own resizing and flip, which
    is in ``img_aug_matrix`` (see `kd3d.data.surround`). ``lidar2ego`` is packed where the info has
    it, and ``gt_depth_maps`` and ``gt_object_maps`` (cameras, H, W) beside the boxes where a
    transform made them.

    Args:
        keys: As for ``Pack3DDetInputs``, and keys of clouds such as ``points_dense``.
        **options: As for ``Pack3DDetInputs``.

    Raises:
        UserError: A cloud that no transform made.
    """

    def __init__(self, keys: tuple[str, ...], **options: Any) -> None:
        self.clouds = [key for key in keys if _is_branch_key(key)]
        super().__init__([key for key in keys if key not in self.clouds], **options)

    def pack_single_results(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pack as mmdet3d does and add ``inputs[key]`` (N, C) of every other cloud."""
        for key in self.clouds:
            if not isinstance(results.get(key), BasePoints):
                raise UserError(
                    f"no transform made the cloud {key!r}",
                    "PackBranches",
                    f"SplitPoints or LoadBranchPoints with key={key!r} comes before it",
                )
        matrix = augmentation_matrix(results)
        packed = super().pack_single_results(results)
        packed["inputs"] |= {key: results[key].tensor for key in self.clouds}
        sample, known = packed["data_samples"], {"lidar_aug_matrix": matrix}
        if "img_aug_matrix" in results:
            known["img_aug_matrix"] = results["img_aug_matrix"]
        frame = (results.get("lidar_points") or {}).get("lidar2ego")
        if frame is not None:
            known["lidar2ego"] = full_matrix(frame)
        sample.set_metainfo(known)
        for key in ("gt_depth_maps", "gt_object_maps"):
            if key in results:
                sample.set_data({key: torch.from_numpy(results[key])})
        return packed


def _is_branch_key(key: str) -> bool:
    return key.startswith("points_")


def _branch_key(key: str) -> str:
    if not _is_branch_key(key):
        raise UserError(f"the key {key!r} does not start with 'points_'", "SplitPoints")
    return key


def _own_points(results: dict, points: BasePoints | None, transforms: list[Any]) -> BasePoints:
    """Run `transforms` on a copy of the results and return its points."""
    own = {key: value for key, value in results.items() if key != "points"}
    flow = list(results.get("transformation_3d_flow") or [])
    own["transformation_3d_flow"] = list(flow)
    if points is not None:
        own["points"] = points
    for transform in transforms:
        own = transform(own)
        if own is None or own["transformation_3d_flow"] != flow:
            raise UserError(
                "it moves the scene or drops the sample",
                f"{type(transform).__name__} on one branch's points",
                "augment the whole sample before its cloud is parted",
            )
    return own["points"]


def _channel(points: BasePoints, channel: Any, key: str, who: str) -> torch.Tensor:
    """Return one value of each point, (N,)."""
    count = points.tensor.shape[1]
    if not 0 <= channel < count:
        message = f"a point has {count} values, there is no channel {channel}"
        raise UserError(message, f"{who} {key}")
    return points.tensor[:, channel]


def _moved(matrix: np.ndarray, points: BasePoints) -> torch.Tensor:
    """Return the (N, 3) coordinates of `points` moved by `matrix`, in their own precision."""
    moved = transform_points(matrix, points.tensor[:, :3].double().numpy())
    return torch.from_numpy(moved).to(points.tensor.dtype)
