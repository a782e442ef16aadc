"""Resampling of bird's-eye-view maps in metres."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kd3d.core.spec import FeatureSpec
from kd3d.errors import UserError


class MetricResample(nn.Module):
    """Read a map at the cell centres of another map, bilinearly, in metres.

    With cell centres x_i = x_min + (i + 0.5) dx the normalised coordinate for ``grid_sample``
    (align_corners=False) is 2 (x - x_min) / (x_max - x_min) - 1. A source that is finer by a factor
    of two or more is area-averaged first, so that nothing aliases.

    Args:
        source: Spec of the map that is read.
        target: Spec whose cells are wanted.
        where: For messages.

    Attributes:
        valid: (1, 1, H, W) float, 1 where the target cell's centre lies in the source's extent.
    """

    grid: Tensor
    valid: Tensor

    def __init__(self, source: FeatureSpec, target: FeatureSpec, where: str = "adapter") -> None:
        super().__init__()
        if (
            source.shape is None
            or source.extent_m is None
            or source.cell_m is None
            or target.shape is None
            or target.extent_m is None
            or target.cell_m is None
        ):
            raise UserError(f"cannot align {source} with {target}: no metric extent", where)
        self.pool = (
            max(1, int(target.cell_m[1] // source.cell_m[1])),
            max(1, int(target.cell_m[0] // source.cell_m[0])),
        )
        s_x0, s_y0, s_x1, s_y1 = source.extent_m
        t_x0, t_y0, t_x1, t_y1 = target.extent_m
        height, width = target.shape
        x = t_x0 + (torch.arange(width) + 0.5) * ((t_x1 - t_x0) / width)
        y = t_y0 + (torch.arange(height) + 0.5) * ((t_y1 - t_y0) / height)
        # Area averaging drops an incomplete last row or column; the extent shrinks with it.
        rows, columns = (n // k * k for n, k in zip(source.shape, self.pool))
        s_x1 = s_x0 + columns * source.cell_m[0]
        s_y1 = s_y0 + rows * source.cell_m[1]
        u = 2 * (x - s_x0) / (s_x1 - s_x0) - 1
        v = 2 * (y - s_y0) / (s_y1 - s_y0) - 1
        grid = torch.stack([u[None, :].expand(height, width), v[:, None].expand(height, width)], -1)
        inside = (grid.abs() <= 1).all(-1)
        if not inside.any():
            raise UserError(f"the maps do not overlap: {source} and {target}", where)
        self.register_buffer("grid", grid[None], persistent=False)
        self.register_buffer("valid", inside[None, None].float(), persistent=False)

    def forward(self, feature: Tensor) -> Tensor:
        """Resample (B, C, H_source, W_source) to (B, C, H, W); zero outside the source."""
        if self.pool != (1, 1):
            feature = F.avg_pool2d(feature, self.pool)
        grid = self.grid.to(feature.dtype).expand(len(feature), -1, -1, -1)
        sampled = F.grid_sample(feature, grid, "bilinear", "border", align_corners=False)
        return sampled * self.valid.to(feature.dtype)
