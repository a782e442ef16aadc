"""Imitation that asks which neurons respond, and how strongly where it matters."""

from __future__ import annotations

import torch
from torch import Tensor

from kd3d.losses.feature.standardise import channel_moments, pooled_moments
from kd3d.losses.precision import as_float
from kd3d.losses.reduce import sum_over_ranks


def partial_squared_error(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Squared error, except where a negative target is undercut.

    .. math:: \frac{1}{C} \sum_c \begin{cases} 0 & s_c \le t_c \le 0 \\ (s_c - t_c)^2 &
        \text{otherwise} \end{cases}

    B. Heo, J. Kim, S. Yun, H. Park, N. Kwak, J. Y. Choi, "A comprehensive overhaul of feature
    distillation" (OFD), ICCV 2019, equation 3, averaged over channels.

    Args:
        student: (B, C, H, W), before an activation.
        teacher: (B, C, H, W), after the margin.

    Returns:
        (B, H, W) un-reduced.
    """
    ours, theirs = as_float(student), as_float(teacher)
    counts = (ours > theirs) | (theirs > 0)
    return ((ours - theirs).square() * counts).mean(1)


def negative_margin(feature: Tensor) -> Tensor:
    r"""Return each channel's mean negative response, :math:`E[f \mid f < 0]`.

    OFD, equation 1 (margin ReLU), measured over the batch of all processes.

    Args:
        feature: (B, C, H, W).

    Returns:
        (1, C, 1, 1), at most 0; 0 for a channel that is never negative.
    """
    feature = as_float(feature).detach()
    below = feature < 0
    totals = torch.stack([(feature * below).sum((0, 2, 3)), below.sum((0, 2, 3)).to(feature)])
    total, count = sum_over_ranks(totals)
    return (total / count.clamp(min=1)).view(1, -1, 1, 1)


def unit_deviation(feature: Tensor, eps: float = 1e-5) -> Tensor:
    """Return (B, C, H, W) divided by each channel's deviation over the batch of all processes.

    Unlike `standardised` it does not shift, so signs stay. `eps` is added to the variance.
    """
    _, variance = pooled_moments(channel_moments(feature), feature[0, 0].numel())
    return feature * (variance + eps).rsqrt().to(feature.dtype).view(1, -1, 1, 1)


def activation_boundaries(student: Tensor, teacher: Tensor, margin: float = 1.0) -> Tensor:
    r"""Squared hinge on whether a neuron responds.

    .. math:: \frac{1}{C} \sum_c \begin{cases} \max(0, m - s_c)^2 & t_c > 0 \\
        \max(0, m + s_c)^2 & t_c \le 0 \end{cases}

    B. Heo, M. Lee, S. Yun, J. Y. Choi, "Knowledge transfer via distillation of activation
    boundaries formed by hidden neurons" (AB), AAAI 2019, equation 4, averaged over channels.

    Args:
        student: (B, C, H, W), before an activation.
        teacher: (B, C, H, W); only its sign counts.
        margin: m, positive.

    Returns:
        (B, H, W) un-reduced.
    """
    sign = torch.where(as_float(teacher) > 0, 1.0, -1.0)
    return (margin - sign * as_float(student)).clamp(min=0).square().mean(1)
