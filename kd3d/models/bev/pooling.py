"""Pooling of lifted image features into cells, without the outer product of depth and context."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def bev_pool(depth: Tensor, context: Tensor, cell: Tensor, cells: int) -> Tensor:
    """Sum depth x context of all lifted points of a cell.

    J. Philion, S. Fidler, "Lift, Splat, Shoot: Encoding images from arbitrary camera rigs by
    implicitly unprojecting to 3D", ECCV 2020, section 3. The same sum as over their (points, C)
    table of weighted features, which is never made: a cell is a bag of pixels weighted by depth, as
    ``embedding_bag`` sums bags of words, and its gradients are gathered sums as well. Summed in
    float32, or float64 where one of both is.

    Args:
        depth: (..., D, H, W) weights, one a lifted point.
        context: (..., C, H, W) features of the pixels, with the same leading sizes.
        cell: (..., D, H, W) int64, the cell of each lifted point; negative: in none.
        cells: Number of cells.

    Returns:
        (cells, C) sums, of the context's dtype.
    """
    bins, channels = depth.shape[-3], context.shape[-3]
    wide = torch.promote_types(torch.promote_types(depth.dtype, context.dtype), torch.float32)
    rows = context.movedim(-3, -1).reshape(-1, channels).to(wide)
    weights = depth.movedim(-3, -1).reshape(-1).to(wide)
    flat = cell.movedim(-3, -1).flatten()  # pixel by pixel, as the weights
    kept = (flat >= 0).nonzero().squeeze(1)
    ordered, order = flat[kept].sort()
    place = kept[order]
    starts = torch.searchsorted(ordered, torch.arange(cells, device=cell.device))
    with torch.autocast(depth.device.type, enabled=False):
        sums = F.embedding_bag(
            place // bins, rows, starts, mode="sum", per_sample_weights=weights[place]
        )
    return sums.to(context.dtype)
