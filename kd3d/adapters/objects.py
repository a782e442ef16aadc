"""Feature vectors at the centres of objects, between cells or of whole cells."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from kd3d.core.spec import Extent


def object_rows(feature: Tensor, centres: Sequence[Tensor], extent: Extent) -> Tensor:
    """Read a bird's-eye-view map at points, bilinearly, in metres.

    Args:
        feature: (B, C, H, W), H along y and W along x.
        centres: A sample's (N_b, 2) x and y in metres, inside the extent, one entry a sample.
        extent: (x_min, y_min, x_max, y_max) of the map in metres.

    Returns:
        (sum N_b, C), samples one after another.
    """
    low = feature.new_tensor(extent[:2])
    size = feature.new_tensor(extent[2:]) - low
    rows = []
    for sample, points in zip(feature, centres):
        grid = 2 * (points.to(feature) - low) / size - 1
        found = F.grid_sample(
            sample[None], grid[None, None], "bilinear", "border", align_corners=False
        )
        rows.append(found[0, :, 0].t())
    return torch.cat(rows)


def object_cells(boxes: Tensor, extent: Extent, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the cells that hold the centres of boxes.

    Args:
        boxes: (N, >=2) x and y in metres, ...
        extent: (x_min, y_min, x_max, y_max) of the map in metres.
        shape: (H, W).

    Returns:
        (N,) int64 indices row * W + column, 0 for a centre outside; (N,) whether it lies inside.
    """
    low, high = boxes.new_tensor(extent[:2]), boxes.new_tensor(extent[2:])
    count = boxes.new_tensor([shape[1], shape[0]])
    place = ((boxes[:, :2] - low) * count / (high - low)).floor()
    inside = ((place >= 0) & (place < count)).all(1)
    column, row = (place * inside[:, None]).long().unbind(1)
    return row * shape[1] + column, inside


def rows_at(feature: Tensor, cells: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Read whole cells, padded to the largest number of a sample.

    Args:
        feature: (B, C, M), M cells.
        cells: A sample's (N_b,) indices into M, one entry a sample.

    Returns:
        Rows (B, N, C) with N = max(1, max N_b), zeros where a sample has fewer (attached to the
        feature); weights (B, N) of 1 for a row and 0 for padding.
    """
    slots = max(1, *(len(sample) for sample in cells))
    index = torch.zeros((len(feature), slots), dtype=torch.long, device=feature.device)
    weight = feature.new_zeros(index.shape)
    for i, sample in enumerate(cells):
        index[i, : len(sample)] = sample
        weight[i, : len(sample)] = 1.0
    rows = feature.gather(2, index[:, None].expand(-1, feature.shape[1], -1)).transpose(1, 2)
    return rows * weight[..., None], weight
