"""Regions of proposals in which every proposal weighs the same, whatever its size.

Boxes are (N, >=7) [x, y, z, dx, dy, dz, yaw, ...] in metres; an extent is (x_min, y_min, x_max,
y_max) in metres; a grid has H cells along y and W along x.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kd3d.masks.boxes import Extent, in_box_frame, inside_boxes

_AT_ONCE = 16  # boxes whose maps are in memory together


def equal_boxes(
    boxes: Sequence[Tensor], extent: Extent, shape: tuple[int, int], upright: bool = False
) -> Tensor:
    r"""Return the sum over boxes of 1 / (cells of the box) on the box's cells.

    .. math:: M = \sum_r m_r / |m_r|

    Y. Wei et al., "LiDAR Distillation: Bridging the beam-induced domain gap for 3D object
    detection", ECCV 2022, section 3.3.

    Args:
        boxes: A sample's boxes, one entry a sample.
        extent: Of the map.
        shape: (H, W).
        upright: The authors' cells: yaw is ignored, and a cell is judged by its lower corner.

    Returns:
        (B, 1, H, W), summing to the number of a sample's boxes that hold a cell.
    """
    inside = _inside_upright if upright else inside_boxes
    masks = []
    for sample in boxes:
        mask = torch.zeros(shape, device=sample.device)
        for part in sample.float().split(_AT_ONCE):
            cells = inside(part, extent, shape).float()
            mask += (cells / cells.sum((1, 2), keepdim=True).clamp(min=1)).sum(0)
        masks.append(mask)
    return torch.stack(masks).unsqueeze(1)


def _inside_upright(boxes: Tensor, extent: Extent, shape: tuple[int, int]) -> Tensor:
    spans = []
    for axis, count in ((0, shape[1]), (1, shape[0])):
        cell = (extent[2 + axis] - extent[axis]) / count
        centre, half = (boxes[:, axis] - extent[axis]) / cell, boxes[:, 3 + axis] / (2 * cell)
        index = torch.arange(count, device=boxes.device)
        spans.append((index - centre[:, None]).abs() <= half[:, None])
    columns, rows = spans
    return rows[:, :, None] & columns[:, None, :]


def balanced_gaussians(
    boxes: Tensor, extent: Extent, shape: tuple[int, int], spread: float = 0.25
) -> Tensor:
    """Return a rotated Gaussian on each box, (N, H, W), each of sum 1.

    Args:
        boxes: One sample's boxes.
        extent: Of the map.
        shape: (H, W).
        spread: Standard deviation along and across, as a share of the box's length and width; at
            least half a cell, so that small objects have weight.

    Returns:
        A box whose centre lies outside the extent gets zeros.
    """
    boxes = boxes.float()
    along, across = in_box_frame(boxes, extent, shape)
    cell = max((extent[2] - extent[0]) / shape[1], (extent[3] - extent[1]) / shape[0])
    sigma = (boxes[:, 3:5] * spread).clamp(min=cell / 2)
    exponent = (along / sigma[:, :1, None]).square() + (across / sigma[:, 1:, None]).square()
    bump = torch.exp(-exponent / 2)
    low, high = boxes.new_tensor(extent[:2]), boxes.new_tensor(extent[2:])
    inside = ((boxes[:, :2] >= low) & (boxes[:, :2] <= high)).all(1)
    bump = bump * inside[:, None, None]
    return bump / bump.sum((1, 2), keepdim=True).clamp(min=1e-12)


def distinct(masks: Tensor, score: Tensor, most: int, overlap: float) -> Tensor:
    """Return the indices of the best masks, none of which overlaps a better one.

    Args:
        masks: (N, H, W), each of sum 1 or 0; those of 0 are left out.
        score: (N,).
        most: How many at most.
        overlap: Of two masks a and b, sum min(a, b), in 0..1: above this the worse one goes.
    """
    order = score.argsort(descending=True)
    left = order[masks[order].flatten(1).any(1)]
    chosen: list[Tensor] = []
    while len(left) and len(chosen) < most:
        best, left = left[0], left[1:]
        chosen.append(best)
        shared = torch.minimum(masks[left], masks[best]).sum((1, 2))
        left = left[shared <= overlap]
    return torch.stack(chosen) if chosen else order[:0]
