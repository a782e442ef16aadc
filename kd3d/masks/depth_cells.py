"""Which object the nearest point in a cell of an image belongs to."""

from __future__ import annotations

import torch
from torch import Tensor


def object_cells(
    seen: Tensor,
    inside: Tensor,
    shape: tuple[int, int],
    stride: int,
    depths: tuple[float, float] = (0.0, float("inf")),
    official_parity: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return the least depth in each cell of an image, and the object of the point that has it.

    The targets of the inner depth, see `kd3d.losses.depth.inner_depth`.

    Args:
        seen: (P, 3) u, v in pixels and depth in metres; a whole number is the middle of a pixel.
        inside: (N, P) whether a point lies in a box; of several boxes the last one counts.
        shape: (H, W) of the image in pixels.
        stride: Pixels a cell, along both sides.
        depths: Nearest depth that counts, and the depth from which none does.
        official_parity: As TiG-BEV's code: cells lie around the pixels 0, stride, 2 stride ...

    Returns:
        (H / stride, W / stride) metres, 0 without a point; and int64, 0 without an object, else the
        box's index from 1.
    """
    rows, columns = shape[0] // stride, shape[1] // stride
    u, v, depth = seen.unbind(1)
    if official_parity:
        column, row = (u / stride).round().long(), (v / stride).round().long()
    else:
        column, row = ((w + 0.5).div(stride).floor().long() for w in (u, v))
    kept = (depth > depths[0]) | ((depth == depths[0]) & (depth > 0))
    kept &= (depth < depths[1]) & (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    cell, depth = (row * columns + column)[kept], depth[kept]
    index = torch.arange(1, len(inside) + 1, device=seen.device)[:, None] * (inside > 0)
    of_point = index.amax(0) if len(inside) else torch.zeros_like(row)
    nearest = torch.full((rows * columns,), torch.inf, dtype=depth.dtype, device=seen.device)
    nearest = nearest.scatter_reduce(0, cell, depth, "amin")
    of_nearest = torch.where(depth == nearest[cell], of_point[kept], 0)
    objects = torch.zeros(rows * columns, dtype=torch.long, device=seen.device)
    objects = objects.scatter_reduce(0, cell, of_nearest, "amax")
    nearest = torch.where(nearest.isinf(), 0.0, nearest)
    return nearest.view(rows, columns), objects.view(rows, columns)
