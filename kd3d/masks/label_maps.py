"""Which box each cell of a map belongs to."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kd3d.masks.boxes import Extent, inside_boxes


def box_cells(
    boxes: Sequence[Tensor],
    extent: Extent,
    shape: tuple[int, int],
    grow_m: float = 0.0,
    official_parity: bool = False,
) -> Tensor:
    """Return the index of the box that holds a cell's centre, -1 where none does.

    Where boxes overlap the smallest one has the cell.

    Args:
        boxes: A sample's (N, >=7) boxes [x, y, z, dx, dy, dz, yaw, ...], one entry a sample.
        extent: (x_min, y_min, x_max, y_max) of the map in metres.
        shape: (H, W).
        grow_m: Metres added on every side of a box, so that small objects have a cell.
        official_parity: As in the code of S. Kim et al., "LabelDistill", ECCV 2024: rectangles of
            half the length and width, with corners at whole cells; what lies outside the map is
            moved to its border; the last box has the cell.

    Returns:
        (B, H, W) int64.
    """
    maps = []
    for sample in boxes:
        found = torch.full(shape, -1, dtype=torch.long, device=sample.device)
        if official_parity:
            for i, box in enumerate(sample):
                row, column = _half_rectangle(box, extent, shape)
                found[row, column] = i
        else:
            inside = inside_boxes(sample, extent, shape, grow_m)
            for i in (sample[:, 3] * sample[:, 4]).argsort(descending=True).tolist():
                found[inside[i]] = i
        maps.append(found)
    return torch.stack(maps)


def _half_rectangle(box: Tensor, extent: Extent, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return rows and columns of the cells between four corners, see `box_cells`."""
    cell = box.new_tensor([(extent[2] - extent[0]) / shape[1], (extent[3] - extent[1]) / shape[0]])
    centre = (box[:2] - box.new_tensor(extent[:2])) / cell
    signs = box.new_tensor([[1, 1], [1, -1], [-1, -1], [-1, 1]])
    along, across = (signs * box[3:5] / cell / 4).unbind(1)
    cosine, sine = box[6].cos(), box[6].sin()
    turned = torch.stack([along * cosine - across * sine, along * sine + across * cosine], 1)
    corners = (centre + turned).trunc()  # (4, 2) x and y, around the rectangle
    low, high = corners.amin(0).long().tolist(), corners.amax(0).long().tolist()
    place = torch.cartesian_prod(
        *(torch.arange(low[i], high[i] + 1, device=box.device) for i in (0, 1))
    ).to(box)
    edge = corners.roll(-1, 0) - corners
    offset = place[:, None] - corners  # (P, 4, 2)
    side = edge[:, 0] * offset[..., 1] - edge[:, 1] * offset[..., 0]
    column, row = place[(side >= 0).all(1) | (side <= 0).all(1)].long().unbind(1)
    return row.clamp(0, shape[0] - 1), column.clamp(0, shape[1] - 1)
