"""A teacher that was trained in the car's frame, read in the LiDAR's."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from kd3d.adapters.warp import warp_map
from kd3d.core.spec import FeatureSpec
from kd3d.errors import UserError

MARGIN_M = 2.0  # cut off at each side: the frames differ by a metre and some degrees
QUARTER = -math.pi / 2  # from LiDAR to car in nuScenes: x to the right, y ahead -> x ahead, y left
TOLERANCE_RAD = math.radians(10)


class CarFrame:
    """Warps a teacher's maps from the car's frame to the LiDAR's, sample by sample.

    In nuScenes both differ by about a quarter turn. The warped map covers the teacher's, less a
    margin, and has its cells; what terms see is a map in the LiDAR's frame.

    Args:
        teacher: Its name, for messages.
        specs: Tap -> spec as the teacher's detector has it.

    Raises:
        UserError: A tap that is no bird's-eye-view map.
    """

    def __init__(self, teacher: str, specs: dict[str, FeatureSpec]) -> None:
        self.where = f"teacher {teacher}"
        for name, spec in specs.items():
            if spec.layout != "map" or not spec.is_bev:
                raise UserError(
                    f"the tap {name} is a {spec.layout}; from the car's frame only maps are read",
                    self.where,
                    "tap bev, or train the teacher in the LiDAR's frame",
                )
        self.sources = specs
        self.specs = {name: _turned(spec) for name, spec in specs.items()}

    def __call__(self, values: dict[str, Any], data_samples: list) -> dict[str, Tensor]:
        """Return tap name -> map in the LiDAR's frame.

        Args:
            values: Tap name -> (B, C, H, W) in the car's frame.
            data_samples: Their metainfo has ``lidar2ego`` (4, 4).

        Raises:
            UserError: It has none, or one far from a quarter turn.
        """
        matrix, found = self.matrices(data_samples), {}
        for name, value in values.items():
            source, target = self.sources[name].grid, self.specs[name].grid
            found[name] = warp_map(value, matrix, source[0], *target)[0]
        return found

    def matrices(self, data_samples: list) -> Tensor:
        """Return the samples' ``lidar2ego``, (B, 4, 4) float64; raises as a call does."""
        return torch.stack([self._lidar2ego(sample.metainfo) for sample in data_samples])

    def _lidar2ego(self, meta: dict[str, Any]) -> Tensor:
        if meta.get("lidar2ego") is None:
            raise UserError("the sample has no lidar2ego", self.where, "pack it with PackBranches")
        matrix = torch.as_tensor(meta["lidar2ego"], dtype=torch.float64)
        yaw = math.atan2(float(matrix[1, 0]), float(matrix[0, 0]))
        if abs(yaw - QUARTER) > TOLERANCE_RAD or matrix[:2, 3].abs().max() > MARGIN_M:
            raise UserError(
                f"lidar2ego turns by {math.degrees(yaw):.0f} degrees and shifts by "
                f"{matrix[:2, 3].tolist()} m, expected about -90 and less than {MARGIN_M:g}",
                self.where,
                "train the teacher in the LiDAR's frame",
            )
        return matrix


def _turned(spec: FeatureSpec) -> FeatureSpec:
    """Return the spec of a map after a quarter turn: car (x, y) is LiDAR (-y, x)."""
    (x_min, y_min, x_max, y_max), (rows, columns) = spec.grid
    cell_x, cell_y = spec.cell_m  # type: ignore[misc]
    cut_x, cut_y = math.ceil(MARGIN_M / cell_x), math.ceil(MARGIN_M / cell_y)
    extent = (
        -y_max + cut_y * cell_y,
        x_min + cut_x * cell_x,
        -y_min - cut_y * cell_y,
        x_max - cut_x * cell_x,
    )
    return replace(spec, shape=(columns - 2 * cut_x, rows - 2 * cut_y), extent_m=extent)
