"""Attention-weighted feature errors of FGD."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kd3d.losses.feature.attention import spatial_attention
from kd3d.losses.precision import as_float


def cell_attention(feature: Tensor, temperature: float = 0.5) -> Tensor:
    r"""Return :math:`H W \operatorname{softmax}_i(\frac{1}{C}\sum_c |f_{ci}| / \tau)`, mean 1.

    FGD equation 5 and 7; see `focal_error`.

    Args:
        feature: (B, C, H, W).
        temperature: tau.

    Returns:
        (B, H, W).
    """
    activity = spatial_attention(feature, 1.0)
    weight = F.softmax(activity.flatten(1) / temperature, 1) * activity[0].numel()
    return weight.view_as(activity)


def channel_attention(feature: Tensor, temperature: float = 0.5) -> Tensor:
    r"""Return :math:`C \operatorname{softmax}_c(\frac{1}{HW}\sum_i |f_{ci}| / \tau)`, mean 1.

    FGD equation 6 and 8; see `focal_error`.

    Args:
        feature: (B, C, H, W).
        temperature: tau.

    Returns:
        (B, C).
    """
    activity = as_float(feature).abs().mean((2, 3))
    return F.softmax(activity / temperature, 1) * activity.shape[1]


def focal_error(student: Tensor, teacher: Tensor, cells: Tensor, channels: Tensor) -> Tensor:
    r"""Squared error under a teacher's attention.

    .. math:: A^S_i \frac{1}{C}\sum_c A^C_c (t_{ci} - s_{ci})^2

    Z. Yang, Z. Li, X. Jiang, Y. Gong, Z. Yuan, D. Zhao, C. Yuan, "Focal and global knowledge
    distillation for detectors" (FGD), CVPR 2022, equation 9 without its masks.

    Args:
        student: (B, C, H, W).
        teacher: (B, C, H, W).
        cells: (B, H, W) attention of cells.
        channels: (B, C) attention of channels.

    Returns:
        (B, H, W) un-reduced.
    """
    square = (as_float(student) - as_float(teacher)).square()
    return cells * (square * channels[:, :, None, None]).mean(1)
