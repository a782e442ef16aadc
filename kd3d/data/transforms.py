"""Data transforms that mmdet3d lacks."""

from __future__ import annotations

from typing import Any

from mmcv.transforms import BaseTransform
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
