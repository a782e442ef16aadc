"""What terms share that imitate a map near objects, under Gaussians."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kd3d.core.context import Context
from kd3d.core.map_term import BevTerm
from kd3d.losses import squared_error
from kd3d.masks.boxes import gaussian_mask


class NearTerm(BevTerm):
    """Squared error on the student's cells under the Gaussians of the ground truth.

    Args:
        *sides: See `MapTerm`.
        min_overlap: See `kd3d.masks.boxes.gaussian_mask`.
        min_radius: See `kd3d.masks.boxes.gaussian_mask`.
        **options: See `BevTerm`. In the published form the error is summed over channels.

    Attributes:
        twice: In the published form both maps are multiplied by the mask, so that it enters the
            square, while the normaliser is its sum.
    """

    twice = False

    def __init__(
        self, *sides: Any, min_overlap: float = 0.1, min_radius: int = 2, **options: Any
    ) -> None:
        super().__init__(*sides, **options)
        self.gaussian: dict[str, Any] = dict(min_overlap=min_overlap, min_radius=min_radius)

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return the weighted mean over cells of the mean (published: sum) over channels."""
        ours, theirs, valid = self.maps(student, teacher)
        return self.near(ours, theirs, context, self.region(context, ours.device), valid)

    def near(
        self,
        student: Tensor,
        teacher: Tensor,
        context: Context,
        mask: Tensor,
        valid: Tensor | None = None,
    ) -> Tensor:
        """Return the mean of the error of maps (B, C, H, W) under a mask (B, 1, H, W)."""
        mask = mask if valid is None else mask * valid
        error = squared_error(student, teacher)
        if self.official:
            error = error * student.shape[1]
            error = error * mask[:, 0] if self.twice else error
        return self.mean(error, context, mask)

    def region(self, context: Context, device: torch.device) -> Tensor:
        """Return the (B, 1, H, W) weights of the student's cells."""
        boxes = [box.to(device) for box in context.boxes]
        return gaussian_mask(boxes, *self.spec.grid, **self.gaussian)
