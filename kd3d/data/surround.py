"""Transforms of samples with several cameras and a LiDAR, in nuScenes' format.

The order keeps one geometry: what needs the raw cloud first, then the sample's one augmentation,
then the images, whose own augmentation is apart and cancels in the lift::

    dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=5, use_dim=5),
    dict(type='KeepRawPoints', key='points_depth'),
    dict(type='LoadSweeps', sweeps_num=9),
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
    dict(type='GlobalRotScaleTrans', ...), dict(type='RandomFlip3D', ...),
    dict(type='LoadSurroundImages', size=(256, 704), train=True, resize=(-0.06, 0.11)),
    dict(type='DepthMaps', points='points_depth', stride=16),
    dict(type='PointsRangeFilter', ...), dict(type='ObjectRangeFilter', ...),
    dict(type='PackBranches', keys=['points', 'img', 'gt_bboxes_3d', 'gt_labels_3d'])

Images come after ``RandomFlip3D`` because that would flip them on its own. Calibration stays as in
the infos, whose ``lidar2cam`` holds the ego's motion between both shots.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from mmdet3d.datasets.transforms import LoadPointsFromMultiSweeps
from mmdet3d.registry import TRANSFORMS

from kd3d.data.augmentation import (
    augmentation_matrix,
    full_matrix,
    refuse_pasted,
    transform_points,
)
from kd3d.data.depth_maps import depth_map, object_map, project
from kd3d.data.image_augmentation import centred, draw
from kd3d.data.kitti_geometry import points_in_boxes
from kd3d.errors import UserError


@TRANSFORMS.register_module()
class LoadSurroundImages(BaseTransform):
    """Load the cameras' images, augment each on its own, and record how.

    Sets ``img`` (list of (H, W, 3) uint8, BGR), and lists of one entry a camera: ``img_path``,
    ``cam2img``, ``lidar2cam`` and ``lidar2img`` (4x4, of the images as they were taken) and
    ``img_aug_matrix`` (4x4, moves (u, v, depth, 1) from there to the network's image).

    Args:
        size: (H, W) of the result.
        train: Draw an augmentation; otherwise the image is scaled to the width and its lower part
            is kept.
        resize: Low and high of what is added to the scale that fits the width.
        angle_deg: Low and high of the rotation.
        flip: Probability of mirroring.
        cameras: Names of those that are loaded, in this order; None: all of the sample.

    Raises:
        UserError: No such camera or file, an image that cannot be read, or objects were pasted
            into the cloud, of which no image shows anything.
    """

    def __init__(
        self,
        size: tuple[int, int],
        train: bool = False,
        resize: tuple[float, float] = (0.0, 0.0),
        angle_deg: tuple[float, float] = (0.0, 0.0),
        flip: float = 0.0,
        cameras: Sequence[str] | None = None,
    ) -> None:
        self.size, self.train = (int(size[0]), int(size[1])), train
        self.resize, self.angle_deg, self.flip = resize, angle_deg, flip
        self.cameras = cameras

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Read ``results["images"]``, as mmdet3d's infos give it."""
        refuse_pasted(results, "LoadSurroundImages", "no image shows them")
        names = list(results.get("images") or ()) if self.cameras is None else list(self.cameras)
        if not names or not results.get("images"):
            fix = "give the data set modality=dict(use_camera=True, ...) and infos with images"
            raise UserError("the sample has no cameras", "LoadSurroundImages", fix)
        made: dict[str, list] = {key: [] for key in ("img", "img_path", *_MATRICES)}
        for name in names:
            if name not in results["images"]:
                known = ", ".join(results["images"])
                raise UserError(f"the sample has no camera {name!r}, only {known}", "images")
            camera = results["images"][name]
            image = _read(camera["img_path"])
            shape = (image.shape[0], image.shape[1])
            augmentation = (
                draw(shape, self.size, self.resize, self.angle_deg, self.flip)
                if self.train
                else centred(shape, self.size)
            )
            cam2img, lidar2cam = full_matrix(camera["cam2img"]), full_matrix(camera["lidar2cam"])
            values = (cam2img, lidar2cam, cam2img @ lidar2cam, augmentation.matrix(shape))
            made["img"].append(augmentation(image))
            made["img_path"].append(camera["img_path"])
            for key, value in zip(_MATRICES, values):
                made[key].append(value)
        shapes = dict(ori_shape=shape, img_shape=self.size, pad_shape=self.size)
        results |= made | shapes | dict(num_views=len(names), scale_factor=1.0)
        return results


_MATRICES = ("cam2img", "lidar2cam", "lidar2img", "img_aug_matrix")


@TRANSFORMS.register_module()
class KeepRawPoints(BaseTransform):
    """Keep a copy of the cloud as it was measured, before sweeps join it and it is augmented.

    Args:
        key: Where the copy goes.

    Raises:
        UserError: The sample has been augmented already.
    """

    def __init__(self, key: str = "points_depth") -> None:
        self.key = key

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Copy ``results["points"]``."""
        if results.get("transformation_3d_flow"):
            raise UserError(
                "the cloud has been augmented already",
                "KeepRawPoints",
                "put it before GlobalRotScaleTrans and RandomFlip3D",
            )
        results[self.key] = results["points"].clone()
        return results


@TRANSFORMS.register_module()
class DepthMaps(BaseTransform):
    """Project raw LiDAR points into the augmented images: the nearest depth in each cell.

    Sets ``gt_depth_maps`` (N, H / stride, W / stride) float32 in metres along the optical axis, 0
    where there is no point. The sample's own augmentation has no part in it: it acts after lifting.
    With `objects` also ``gt_object_maps``, int64 of the same size: which box of the sample the
    nearest point lies in, 1 for the first, 0 for none; see `kd3d.masks.depth_cells`.

    Args:
        points: Key of the raw cloud, see `KeepRawPoints`.
        stride: Pixels a cell, the stride of the features that are lifted.
        objects: Make maps of objects as well; it comes before ``ObjectRangeFilter`` and after
            the scene's augmentation.
        official_parity: See `kd3d.data.depth_maps.depth_map`.
    """

    def __init__(
        self,
        points: str = "points_depth",
        stride: int = 16,
        objects: bool = False,
        official_parity: bool = False,
    ) -> None:
        self.points, self.stride, self.objects = points, stride, objects
        self.official_parity = official_parity

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Read the cloud, ``lidar2img`` and ``img_aug_matrix``."""
        for key, maker in ((self.points, "KeepRawPoints"), ("img_aug_matrix", _LOADER)):
            if key not in results:
                raise UserError(f"there is no {key!r}", "DepthMaps", f"{maker} comes before it")
        cloud = results[self.points].tensor[:, :3].numpy()
        views = zip(results["lidar2img"], results["img_aug_matrix"])
        seen = [project(cloud, lidar2img, augmentation) for lidar2img, augmentation in views]
        cells = results["img_shape"], self.stride
        maps = [depth_map(one, *cells, self.official_parity) for one in seen]
        results["gt_depth_maps"] = np.stack(maps)
        if self.objects:
            if "gt_bboxes_3d" not in results:
                fix = "LoadAnnotations3D comes before it"
                raise UserError("there is no 'gt_bboxes_3d'", "DepthMaps(objects=True)", fix)
            boxes = results["gt_bboxes_3d"].tensor[:, :7].numpy()
            moved = transform_points(augmentation_matrix(results), cloud.astype(np.float64))
            inside = np.stack([np.zeros(len(cloud), bool), *points_in_boxes(moved, boxes)])[1:]
            maps = [object_map(one, inside, *cells, self.official_parity) for one in seen]
            results["gt_object_maps"] = np.stack(maps)
        return results


_LOADER = "LoadSurroundImages"


@TRANSFORMS.register_module()
class LoadSweeps(LoadPointsFromMultiSweeps):
    """mmdet3d's joining of earlier sweeps, with the translation that belongs to the rotation.

    Infos hold ``lidar2sensor``, from the key frame's cloud to a sweep's. mmdet3d 1.4 subtracts its
    translation after undoing its rotation, which is right only where the car drives straight on.

    Args:
        official_parity: Join as mmdet3d does, for teachers that were trained so.
        **options: Of mmdet3d's ``LoadPointsFromMultiSweeps``.
    """

    def __init__(self, *args: Any, official_parity: bool = False, **options: Any) -> None:
        super().__init__(*args, **options)
        self.official_parity = official_parity

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Join ``results["lidar_sweeps"]`` with ``results["points"]``."""
        if self.official_parity or "lidar_sweeps" not in results:
            return super().transform(results)
        before = results["lidar_sweeps"]
        results["lidar_sweeps"] = [_turned(sweep) for sweep in before]
        results = super().transform(results)
        results["lidar_sweeps"] = before
        return results


@TRANSFORMS.register_module()
class PointsToEgo(BaseTransform):
    """Move a cloud from the LiDAR's frame to the car's, for a model that was trained there.

    To be used in ``SplitPoints`` for one branch; the sample itself stays in the LiDAR's frame.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Move ``results["points"]`` by the sample's ``lidar2ego``."""
        matrix = (results.get("lidar_points") or {}).get("lidar2ego")
        if matrix is None:
            raise UserError("the sample has no lidar2ego", "PointsToEgo", "kd3d prepare nuscenes")
        points = results["points"].clone()
        moved = transform_points(full_matrix(matrix), points.tensor[:, :3].double().numpy())
        points.tensor[:, :3] = points.tensor.new_tensor(moved)
        results["points"] = points
        return results


def _turned(sweep: dict[str, Any]) -> dict[str, Any]:
    """Return a sweep whose translation suits mmdet3d's ``p @ rotation - translation``."""
    sweep = copy.deepcopy(sweep)
    matrix = full_matrix(sweep["lidar_points"]["lidar2sensor"])
    matrix[:3, 3] = matrix[:3, :3].T @ matrix[:3, 3]
    sweep["lidar_points"]["lidar2sensor"] = matrix
    return sweep


def _read(path: str) -> np.ndarray:
    if not Path(path).is_file():
        raise UserError("no such image", path)
    image = mmcv.imread(path)
    if image is None:
        raise UserError("not an image that can be read", path)
    return image
