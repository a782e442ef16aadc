"""What terms share that read a grid of key points, rim included, in and around every object."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kd3d.adapters.objects import box_points, object_rows
from kd3d.core.context import Context
from kd3d.core.object_term import ObjectTerm
from kd3d.core.spec import FeatureSpec


class KeyPointTerm(ObjectTerm):
    """A term on the features at P x P points of every object's rectangle, its rim included.

    Args:
        name: See `ObjectTerm`.
        student: See `ObjectTerm`.
        teacher: See `ObjectTerm`.
        weight: See `ObjectTerm`.
        objects: See `ObjectTerm`.
        points: P.
        grow_m: Metres added on every side of an object.
        official_parity: All objects count, also those outside the maps.
    """

    fewest = 1

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict[str, Any] = 1.0,
        objects: int = 256,
        points: int = 3,
        grow_m: float = 0.0,
        official_parity: bool = False,
    ) -> None:
        super().__init__(name, student, teacher, weight, objects)
        self.points, self.grow_m, self.official = points, grow_m, official_parity

    def key_points(
        self, student: Tensor, teacher: Tensor, context: Context
    ) -> tuple[Tensor, Tensor]:
        """Return the features (N, P * P, C_s) and (N, P * P, C_t) at the objects' points.

        Args:
            student: Its map (B, C_s, H, W).
            teacher: Its map.
            context: The batch.
        """
        boxes = self.boxes(student, context)
        places = [box_points(self._grown(one), self.points, rim=True) for one in boxes]
        ours, theirs = (
            self.limited(self.read(feature, places, spec))
            for feature, spec in zip((student, teacher), self.specs)
        )
        return ours, theirs

    def read(self, feature: Tensor, places: list[Tensor], spec: FeatureSpec) -> Tensor:
        """Return a map's features (N, P * P, C) at points (N_b, P * P, 2) in metres."""
        rows = object_rows(feature, [place.flatten(0, 1) for place in places], spec.grid[0])
        return rows.reshape(-1, self.points**2, feature.shape[1])

    def boxes(self, student: Tensor, context: Context) -> list[Tensor]:
        """Return the boxes that count; in the published form all."""
        if not self.official:
            return super().boxes(student, context)
        return [boxes.to(student) for boxes in context.boxes]

    def _grown(self, boxes: Tensor) -> Tensor:
        size = boxes[:, 3:5] + 2 * self.grow_m
        return torch.cat([boxes[:, :3], size, boxes[:, 5:]], 1)
