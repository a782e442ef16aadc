"""Points inside upright rotated boxes."""

from __future__ import annotations

import torch
from torch import Tensor

from kd3d.models.point_ops.neighbours import first_true

_CHUNK = 1 << 20  # pairs of a box and a point that are held at once


def inside(points: Tensor, boxes: Tensor) -> Tensor:
    """Return which points lie in which boxes.

    A point counts where |z - z_centre| <= dz / 2 and, in the box's frame, |x| < dx / 2 and
    |y| < dy / 2: top and bottom belong to the box, its sides do not.

    Args:
        points: (N, 3) in metres.
        boxes: (T, 7) [x, y, z_bottom, dx, dy, dz, yaw], metres and radians.

    Returns:
        (T, N) bool.
    """
    x, y, z, dx, dy, dz, yaw = boxes[:, :, None].unbind(1)
    cosine, sine = torch.cos(yaw), torch.sin(yaw)
    shift_x, shift_y = points[None, :, 0] - x, points[None, :, 1] - y
    local_x = shift_x * cosine + shift_y * sine
    local_y = shift_y * cosine - shift_x * sine
    level = (points[None, :, 2] - (z + dz / 2)).abs() <= dz / 2
    return level & (local_x.abs() < dx / 2) & (local_y.abs() < dy / 2)


def points_in_boxes_part(points: Tensor, boxes: Tensor) -> Tensor:
    """Return the first box, by index, in which each point lies; see `inside`.

    Args:
        points: (B, M, 3).
        boxes: (B, T, 7), bottom centres.

    Returns:
        (B, M) int32 box index, -1 where there is none.
    """
    found = torch.full(points.shape[:2], -1, dtype=torch.int32)
    for b in range(len(points)):
        left = torch.arange(points.shape[1])  # points without a box so far
        start = 0
        while start < boxes.shape[1] and len(left):
            step = max(1, _CHUNK // len(left))
            into = inside(points[b, left], boxes[b, start : start + step])
            first = into.to(torch.uint8).argmax(0)  # of equal ones, the first
            hit = into.any(0)
            found[b, left[hit]] = (first[hit] + start).int()
            left, start = left[~hit], start + step
    return found


def points_in_boxes_all(points: Tensor, boxes: Tensor) -> Tensor:
    """Return for every point and box whether the point lies in it; see `inside`.

    Args:
        points: (B, M, 3).
        boxes: (B, T, 7), bottom centres.

    Returns:
        (B, M, T) int32, 1 inside and 0 outside.
    """
    return torch.stack([inside(p, b).t() for p, b in zip(points, boxes)]).int()


def roipoint_pool3d(
    points: Tensor, point_features: Tensor, boxes3d: Tensor, num_sampled_points: int = 512
) -> tuple[Tensor, Tensor]:
    """Collect the points inside each box with their features.

    The first points by index are taken; fewer than asked for are repeated in turn. A box without
    points holds zeros.

    Args:
        points: (B, N, 3).
        point_features: (B, N, C).
        boxes3d: (B, M, 7), bottom centres; see `inside`.
        num_sampled_points: S.

    Returns:
        (B, M, S, 3 + C) coordinates and features, without gradient, and (B, M) int32, 1 where a
        box is empty.
    """
    batch, boxes = boxes3d.shape[:2]
    rows = torch.cat([points.to(point_features.dtype), point_features], 2)
    pooled = rows.new_zeros((batch, boxes, num_sampled_points, rows.shape[2]))
    empty = torch.zeros((batch, boxes), dtype=torch.int32)
    step = max(1, _CHUNK // max(1, points.shape[1]))
    slots = torch.arange(num_sampled_points)
    for b in range(batch):
        for start in range(0, boxes, step):
            part = slice(start, start + step)
            first, count = first_true(inside(points[b], boxes3d[b, part]), num_sampled_points)
            full = count > 0
            index = first.gather(1, slots % count.clamp(min=1)[:, None])
            pooled[b, part][full] = rows[b, index[full]]
            empty[b, part] = (~full).int()
    return pooled, empty
