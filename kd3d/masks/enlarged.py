"""Boxes that grow with range and speed, and CRKD's upright rectangles of cells."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kd3d.masks.boxes import Extent

RANGE_M = (20.0, 30.0)
SPEED_M_S = (0.3, 0.8)
GROWTH_M = (0.5, 4.0)


def enlarged_boxes(boxes: Tensor, velocities: Tensor | None = None, fixed: bool = False) -> Tensor:
    """Return boxes whose length and width have grown with range and speed.

    A side grows by 25 % from 20 m and by 50 % from 30 m of range, by another 25 % where the object
    moves along it at 0.3 m/s or more and by 50 % at 0.8 m/s or more; the sum is kept between 0.5
    and 4 m. L. Zhao, J. Song, K. A. Skinner, "CRKD: Enhanced camera-radar object detection with
    cross-modality knowledge distillation", CVPR 2024, mask-scaling feature distillation.

    Args:
        boxes: (N, >=7) boxes [x, y, z, dx, dy, dz, yaw, ...]; range is from the frame's origin.
        velocities: (N, 2) vx, vy in metres a second along the frame's axes; None: all stand.
        fixed: As in the authors' code vx counts for the length and vy for the width, whatever the
            yaw; else the velocity is turned into the box's frame.

    Returns:
        Boxes of the same shape.
    """
    distance = boxes[:, :2].norm(dim=1, keepdim=True)
    share = _steps(distance, RANGE_M)
    if velocities is not None:
        speed = velocities.to(boxes)
        if not fixed:
            cosine, sine = boxes[:, 6].cos(), boxes[:, 6].sin()
            along = speed[:, 0] * cosine + speed[:, 1] * sine
            speed = torch.stack([along, speed[:, 1] * cosine - speed[:, 0] * sine], 1)
        share = share + _steps(speed.abs(), SPEED_M_S)
    grown = boxes[:, 3:5] + (boxes[:, 3:5] * share).clamp(*GROWTH_M)
    return torch.cat([boxes[:, :3], grown, boxes[:, 5:]], 1)


def diagonal_rectangles(boxes: Tensor, extent: Extent, shape: tuple[int, int]) -> Tensor:
    """Return the cells of two opposite corners of each box, as CRKD's code takes them.

    The corners are (+dx/2, -dy/2) and (-dx/2, +dy/2), turned by the yaw. Between them lies the box
    only where it is upright; see `rectangle_mask`.

    Args:
        boxes: (N, >=7) boxes [x, y, z, dx, dy, dz, yaw, ...].
        extent: (x_min, y_min, x_max, y_max) of the map in metres.
        shape: (H, W).

    Returns:
        (N, 4) int64: column and row of the first corner, column and row of the second; they may
        lie outside the map.
    """
    x_min, y_min, x_max, y_max = extent
    cell = boxes.new_tensor([(x_max - x_min) / shape[1], (y_max - y_min) / shape[0]])
    cosine, sine = boxes[:, 6].cos(), boxes[:, 6].sin()
    along, across = boxes[:, 3] / 2, -boxes[:, 4] / 2
    offset = torch.stack([along * cosine - across * sine, along * sine + across * cosine], 1)
    low = boxes.new_tensor([x_min, y_min])
    corners = [(boxes[:, :2] + side * offset - low) / cell for side in (1, -1)]
    return torch.cat(corners, 1).floor().long()


def rectangle_mask(
    rectangles: Sequence[Tensor], shape: tuple[int, int], inner: bool = True
) -> Tensor:
    """Return 1 in the cells between two corners, the larger index excluded, else 0.

    Args:
        rectangles: A sample's (N, 4) corners of `diagonal_rectangles`, one entry a sample.
        shape: (H, W).
        inner: Corners are moved to the map's last cells, so that the last row and column never
            count (the authors, for 180 x 180 cells); else they may end at the map's border.

    Returns:
        (B, 1, H, W) float mask.
    """
    height, width = shape
    masks = []
    for sample in rectangles:
        spans = []
        for axis, count in ((0, width), (1, height)):
            ends = sample[:, axis::2].clamp(0, count - 1 if inner else count)
            index = torch.arange(count, device=sample.device)
            spans.append((index >= ends.amin(1)[:, None]) & (index < ends.amax(1)[:, None]))
        columns, rows = spans
        masks.append((rows[:, :, None] & columns[:, None, :]).any(0).float())
    return torch.stack(masks).unsqueeze(1)


def _steps(value: Tensor, limits: tuple[float, float]) -> Tensor:
    """Return 0 below the first limit, 0.25 from there and 0.5 from the second."""
    return 0.25 * ((value >= limits[0]).to(value) + (value >= limits[1]).to(value))
