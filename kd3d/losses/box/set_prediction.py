"""Boxes as codes of eight or ten numbers, matched to a teacher's and compared under its scores."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kd3d.losses.precision import as_float


def box_code(boxes: Tensor) -> Tensor:
    """Return codes (N, 8): x, y, log dx, log dy, z, log dz, sin yaw, cos yaw.

    Args:
        boxes: (N, >=7) [x, y, z, dx, dy, dz, yaw, ...], metres and radians; z is kept as it is, be
            it of the bottom or of the centre. Sizes are positive.
    """
    size, yaw = boxes[:, 3:6].log(), boxes[:, 6:7]
    return torch.cat(
        [boxes[:, :2], size[:, :2], boxes[:, 2:3], size[:, 2:], yaw.sin(), yaw.cos()], 1
    )


def centre_head_code(maps: dict[str, Tensor], extent: tuple[float, ...]) -> Tensor:
    """Return the codes (B, 8, H, W) of the boxes that a centre head's task gives in each cell.

    Args:
        maps: ``reg`` (offset in cells), ``height`` (of the centre), ``dim`` (logarithms) and
            ``rot`` (sine, cosine), each (B, C, H, W).
        extent: (x_min, y_min, x_max, y_max) of the map in metres.
    """
    reg, dim = maps["reg"], maps["dim"]
    height, width = reg.shape[2:]
    column = torch.arange(width, device=reg.device) + reg[:, 0]  # (B, H, W)
    row = torch.arange(height, device=reg.device)[:, None] + reg[:, 1]
    x = extent[0] + column * ((extent[2] - extent[0]) / width)
    y = extent[1] + row * ((extent[3] - extent[1]) / height)
    place = torch.stack([x, y], 1)
    return torch.cat([place, dim[:, :2], maps["height"], dim[:, 2:3], maps["rot"]], 1)


def match_cost(
    logits: Tensor, codes: Tensor, scores: Tensor, targets: Tensor, box: float = 0.25
) -> Tensor:
    r"""Return the cost of giving a student's prediction a teacher's box.

    .. math:: \mathrm{BCE}(\sigma(x_i), q_j) + \lambda \, |b_i - \hat b_j|_1

    Z. Chen, Z. Li, S. Zhang, L. Fang, Q. Jiang, F. Zhao, "BEVDistill: Cross-modal BEV distillation
    for multi-view 3D object detection", ICLR 2023, its released code; the entropy is summed over
    classes, the distance over the first eight values of the code.

    Args:
        logits: (Q, K) of the student's classes.
        codes: (Q, >=8) of its boxes, see `box_code`.
        scores: (T, K) of the teacher's classes, 0..1.
        targets: (T, >=8) of its boxes.
        box: lambda.

    Returns:
        (Q, T).
    """
    logits, scores = as_float(logits), as_float(scores)
    entropy = F.softplus(logits).sum(1, keepdim=True) - logits @ scores.T
    return entropy + box * torch.cdist(codes[:, :8], targets[:, :8], p=1)


def scored_code_error(codes: Tensor, targets: Tensor, scores: Tensor, power: int = 1) -> Tensor:
    r"""Return the absolute difference of matched codes under the teacher's confidence.

    .. math:: w_i^p \sum_d c_d |b_{id} - \hat b_{id}|

    BEVDistill, see `match_cost`; c is 1, and 0.2 for velocities.

    Args:
        codes: (N, 8 or 10).
        targets: Same shape.
        scores: (N,) w.
        power: p.

    Returns:
        (N,) un-reduced.
    """
    factor = codes.new_ones(codes.shape[1])
    factor[8:] = 0.2
    return ((codes - targets).abs() * factor).sum(1) * scores.pow(power)
