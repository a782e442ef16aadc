"""Data transforms that mmdet3d lacks."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet3d.datasets.transforms import DataBaseSampler
from mmdet3d.registry import TRANSFORMS
from mmdet3d.structures import LiDARInstance3DBoxes, LiDARPoints

from kd3d.data.kitti_files import read_points


@TRANSFORMS.register_module()
class LoadKittiPoints(BaseTransform):
    """Load a KITTI cloud strictly: a missing, empty, truncated or non-finite file is a `UserError`.

    mmdet3d's ``LoadPointsFromFile`` reads a truncated file as a reshape error and NaN silently.
    Sets ``points`` (LiDARPoints, (N, 4): x, y, z, reflectance).
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Read ``results["lidar_points"]["lidar_path"]``."""
        points = read_points(results["lidar_points"]["lidar_path"]).copy()
        results["points"] = LiDARPoints(points, points_dim=4)
        return results


@TRANSFORMS.register_module()
class PadVelocity(BaseTransform):
    """Give 7-value boxes a velocity of zero, which CenterHead's targets expect.

    ``CenterHead.get_targets`` unpacks nine values; KITTI's boxes have seven. Train such a head with
    ``code_weights`` of 0 for the last two. Put this after the geometric augmentation.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Replace ``gt_bboxes_3d`` (N, 7) by (N, 9)."""
        boxes = results["gt_bboxes_3d"]
        if boxes.tensor.shape[1] == 7:
            tensor = boxes.tensor.new_zeros((len(boxes), 9))
            tensor[:, :7] = boxes.tensor
            results["gt_bboxes_3d"] = LiDARInstance3DBoxes(tensor, box_dim=9)
        return results


@TRANSFORMS.register_module()
class ObjectDatabase(DataBaseSampler):
    """mmdet3d's database of objects to paste, without memory, for sets that lack some classes.

    mmdet3d's own raises KeyError, or fails to stack no boxes, when a class has no object: as a
    handful of frames may have no cyclist. It also walks through one shuffled list across samples,
    so that what it pastes depends on all samples before, a worker at a time. Here every sample
    draws anew, without replacement, from numpy's random state alone.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sampler_dict = {name: _Draw(infos) for name, infos in self.db_infos.items()}

    @staticmethod
    def filter_by_min_points(db_infos: dict, min_gt_points_dict: dict) -> dict:
        """Keep objects with enough points; absent classes stay empty."""
        db_infos = {name: [] for name in min_gt_points_dict} | db_infos
        return DataBaseSampler.filter_by_min_points(db_infos, min_gt_points_dict)

    def sample_class_v2(self, name: str, num: int, gt_bboxes: np.ndarray) -> list[dict]:
        """Return up to `num` objects that collide with nothing; none where the class has none."""
        if not self.db_infos.get(name):
            return []
        return super().sample_class_v2(name, num, gt_bboxes)


class _Draw:
    """Stands in for mmdet3d's ``BatchSampler``, which remembers where it stands."""

    def __init__(self, infos: list[dict]) -> None:
        self.infos = infos

    def sample(self, num: int) -> list[dict]:
        """Return `num` different objects, or all in random order where there are fewer."""
        chosen = np.random.permutation(len(self.infos))[:num]
        return [self.infos[i] for i in chosen]
