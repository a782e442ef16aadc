"""Overlap of upright rotated boxes and suppression by it.

Boxes are (N, 7) [x, y, z_centre, dx, dy, dz, yaw], metres and radians, yaw counter-clockwise. Areas
come from mmcv's own CPU kernel for rotated rectangles; the CUDA kernels of this family take corners
within 1 cm for inside, so that theirs may be larger by that much.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_FLAT = [0, 1, 3, 4, 6]  # x, y, dx, dy, yaw


def boxes_iou_bev(boxes_a: Tensor, boxes_b: Tensor) -> Tensor:
    """Return the (M, N) intersection over union of the boxes' ground areas."""
    from mmcv.ops import box_iou_rotated

    return box_iou_rotated(boxes_a[:, _FLAT].contiguous(), boxes_b[:, _FLAT].contiguous())


def boxes_overlap_bev(boxes_a: Tensor, boxes_b: Tensor) -> Tensor:
    """Return the (M, N) ground area in square metres that two boxes share.

    Args:
        boxes_a: (M, 7).
        boxes_b: (N, 7).
    """
    iou = boxes_iou_bev(boxes_a, boxes_b)
    area = (boxes_a[:, 3] * boxes_a[:, 4])[:, None] + (boxes_b[:, 3] * boxes_b[:, 4])[None]
    return iou * area / (1 + iou)


def boxes_iou3d(boxes_a: Tensor, boxes_b: Tensor) -> Tensor:
    """Return the (M, N) intersection over union of the boxes' volumes.

    Args:
        boxes_a: (M, 7).
        boxes_b: (N, 7).
    """
    low_a, low_b = (b[:, 2] - b[:, 5] / 2 for b in (boxes_a, boxes_b))
    high_a, high_b = (b[:, 2] + b[:, 5] / 2 for b in (boxes_a, boxes_b))
    height = torch.minimum(high_a[:, None], high_b) - torch.maximum(low_a[:, None], low_b)
    shared = boxes_overlap_bev(boxes_a, boxes_b) * height.clamp(min=0)
    volumes = boxes_a[:, 3:6].prod(1)[:, None] + boxes_b[:, 3:6].prod(1)
    return shared / (volumes - shared).clamp(min=1e-6)


def nms3d(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Keep a box unless one of a higher score that is kept overlaps it by more than the threshold.

    Overlap is that of the ground areas, `boxes_iou_bev`.

    Args:
        boxes: (N, 7).
        scores: (N,).
        iou_threshold: Strictly more than this suppresses.

    Returns:
        (K,) int64 indices, by falling score.
    """
    return _suppress(boxes[:, _FLAT], scores, lambda iou: iou > iou_threshold, iou_threshold)


def nms3d_normal(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Do as `nms3d`, with every yaw taken as 0.

    Args:
        boxes: (N, 7).
        scores: (N,).
        iou_threshold: Strictly more than this suppresses.

    Returns:
        (K,) int64 indices, by falling score.
    """
    upright = boxes.clone()
    upright[:, 6] = 0
    return nms3d(upright, scores, iou_threshold)


def nms_rotated(dets: Tensor, scores: Tensor, iou_threshold: float) -> tuple[Tensor, Tensor | None]:
    """Return what mmcv's CPU kernel of this name does, without comparing every pair.

    Boxes that cannot reach each other, or whose areas differ too much, are not compared. On 9000
    proposals of PointRCNN the kernel takes minutes.

    Args:
        dets: (N, 5) [x, y, dx, dy, yaw].
        scores: (N,).
        iou_threshold: This overlap or more suppresses.

    Returns:
        (K, 6) kept rows with their scores, and their (K,) int64 indices, by falling score; None
        instead of indices where N = 0.
    """
    if not len(dets):
        return dets, None
    kept = _suppress(dets, scores, lambda iou: iou >= iou_threshold, iou_threshold)
    return torch.cat([dets[kept], scores[kept, None]], 1), kept


def _suppress(
    dets: Tensor, scores: Tensor, too_much: Callable[[Tensor], Tensor], threshold: float
) -> Tensor:
    """Return the kept of (N, 5) rectangles, greedily by falling score."""
    from mmcv.ops import box_iou_rotated

    order = scores.sort(0, descending=True)[1]
    dets = dets.detach()[order].contiguous()
    centre, area = dets[:, :2], dets[:, 2] * dets[:, 3]
    reach = dets[:, 2:4].norm(dim=1) / 2
    left = torch.ones(len(dets), dtype=torch.bool)
    kept = []
    for i in range(len(dets)):
        if not left[i]:
            continue
        kept.append(i)
        rest = slice(i + 1, None)
        rivals = left[rest].clone()
        if threshold > 0:  # bounds on the overlap, with a margin for its rounding
            apart = (centre[rest] - centre[i]).square().sum(1).sqrt()
            rivals &= apart <= 1.001 * (reach[rest] + reach[i]) + 1e-3
            smaller, larger = torch.minimum(area[rest], area[i]), torch.maximum(area[rest], area[i])
            rivals &= smaller >= (threshold - 1e-3) * larger
        index = rivals.nonzero()[:, 0] + i + 1
        if len(index):
            iou = box_iou_rotated(dets[i : i + 1], dets[index])[0]
            left[index[too_much(iou)]] = False
    return order[torch.tensor(kept, dtype=torch.long)]
