"""Where points stand above the ground."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from kd3d.masks.boxes import Extent


def raised_cells(
    points: Sequence[Tensor],
    extent: Extent,
    shape: tuple[int, int],
    above_m: float = 0.3,
    reach: int = 3,
    grow: int = 1,
) -> Tensor:
    """Return 1 in and around the cells that hold a point above the ground, else 0.

    The foreground of J. Li, M. Lu, J. Liu, Y. Guo, L. Du, S. Zhang, "BEV-LGKD: A unified
    LiDAR-guided knowledge distillation framework for BEV 3D object detection", arXiv:2212.00623;
    the ground is here the lowest point near by.

    Args:
        points: A sample's (P, >=3) points x, y, z, metres, one entry a sample.
        extent: (x_min, y_min, x_max, y_max) of the map in metres.
        shape: (H, W).
        above_m: Height above the ground from which a point counts.
        reach: The ground is the lowest point in the cells that are so near along x and y.
        grow: Cells added around on every side.

    Returns:
        (B, 1, H, W) float mask.
    """
    height, width = shape
    maps = []
    for sample in points:
        column = ((sample[:, 0] - extent[0]) / (extent[2] - extent[0]) * width).floor()
        row = ((sample[:, 1] - extent[1]) / (extent[3] - extent[1]) * height).floor()
        kept = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        cell = (row * width + column)[kept].long()
        z = sample[kept, 2].float()
        low = z.new_full((height * width,), torch.inf).scatter_reduce(0, cell, z, "amin")
        high = z.new_full((height * width,), -torch.inf).scatter_reduce(0, cell, z, "amax")
        ground = -F.max_pool2d(-low.view(1, 1, *shape), 2 * reach + 1, 1, reach)
        maps.append((high.view(1, *shape) - ground[0] > above_m).float())
    found = torch.stack(maps)
    return F.max_pool2d(found, 2 * grow + 1, 1, grow)
