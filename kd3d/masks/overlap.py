"""How much boxes overlap, seen from above; on any device, without gradients."""

from __future__ import annotations

import torch
from torch import Tensor

_SHRINK_M = 1e-9  # else edges of both boxes that lie on each other would be counted twice


@torch.no_grad()
def bev_overlap(first: Tensor, second: Tensor) -> Tensor:
    r"""Return the intersection over union of all pairs of rotated boxes, seen from above.

    The area of the intersection is an integral along its border (Green's theorem), which consists
    of the parts of each rectangle's edges that lie in the other one:

    .. math:: A = \frac{1}{2} \sum_k p_k \times q_k

    with p_k and q_k the ends of those parts, counter-clockwise.

    Args:
        first: (N, >=7) boxes [x, y, z, dx, dy, dz, yaw, ...], metres and radians.
        second: (M, >=7).

    Returns:
        (N, M) float32 in 0..1; 0 for boxes that only touch or have no size.
    """
    a, b = first[:, None].double(), second[None].double()
    size_a, size_b = a[..., 3:5], b[..., 3:5]
    half_a, half_b = size_a / 2, (size_b / 2 - _SHRINK_M).clamp(min=0)
    turn = b[..., 6] - a[..., 6]
    offset = _turned(b[..., None, :2] - a[..., None, :2], -a[..., 6])  # in the frame of the first
    corners_a = _corners(half_a)
    corners_b = _turned(_corners(half_b), turn) + offset
    shared = _border(corners_b, corners_b, half_a)
    shared = shared + _border(corners_a, _turned(corners_a - offset, -turn), half_b)
    shared = shared.clamp(min=0)
    union = size_a.prod(-1) + size_b.prod(-1) - shared
    return (shared / union.clamp(min=1e-12)).float()


def suppressed(boxes: Tensor, scores: Tensor, labels: Tensor, overlap: float) -> Tensor:
    """Return (N,) bool: which boxes survive greedy non-maximum suppression within their class.

    Args:
        boxes: (N, >=7), see `bev_overlap`.
        scores: (N,).
        labels: (N,).
        overlap: A box that overlaps a better one of its class by more is left out.
    """
    order = scores.argsort(descending=True, stable=True)
    alike = labels[order][:, None] == labels[order]
    close = ((bev_overlap(boxes[order], boxes[order]) > overlap) & alike).cpu()
    keep = torch.ones(len(boxes), dtype=torch.bool)
    for i in range(len(boxes)):
        if keep[i]:
            keep[i + 1 :] &= ~close[i, i + 1 :]
    kept = torch.zeros_like(keep)
    kept[order.cpu()] = keep
    return kept.to(boxes.device)


def _corners(half: Tensor) -> Tensor:
    """Return the corners (..., 4, 2) of upright rectangles at the origin, counter-clockwise."""
    signs = half.new_tensor([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    return half[..., None, :] * signs


def _turned(points: Tensor, angle: Tensor) -> Tensor:
    """Rotate points (..., P, 2) by an angle (...) in radians."""
    cosine, sine = angle.cos()[..., None], angle.sin()[..., None]
    x, y = points[..., 0], points[..., 1]
    return torch.stack([x * cosine - y * sine, x * sine + y * cosine], -1)


def _border(corners: Tensor, seen: Tensor, half: Tensor) -> Tensor:
    """Return the integral (...) along the parts of a polygon's edges that lie in a rectangle.

    Args:
        corners: (..., 4, 2) of the polygon, in the common frame.
        seen: (..., 4, 2) the same in the rectangle's frame.
        half: (..., 2) half of the rectangle's sizes.
    """
    start, step = seen, seen.roll(-1, -2) - seen
    half = half[..., None, :]
    parallel = step.abs() < 1e-12
    safe = torch.where(parallel, torch.ones_like(step), step)
    low, high = (-half - start) / safe, (half - start) / safe
    outside = start.abs() > half
    never = torch.where(outside, torch.inf, -torch.inf)  # an edge along the rectangle's side
    enter = torch.where(parallel, never, torch.minimum(low, high)).amax(-1).clamp(min=0)
    leave = torch.where(parallel, -never, torch.maximum(low, high)).amin(-1).clamp(max=1)
    leave = torch.maximum(enter, leave)[..., None]
    enter = enter[..., None].clamp(max=1)
    edge = corners.roll(-1, -2) - corners
    p, q = corners + enter * edge, corners + torch.minimum(leave, leave.new_ones(())) * edge
    return (p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0]).sum(-1) / 2
