"""Correlation of two maps, channel by channel."""

from __future__ import annotations

import torch
from torch import Tensor

from kd3d.losses.precision import as_float


def standard_scores(feature: Tensor, eps: float = 1e-6) -> Tensor:
    r"""Return :math:`(f - \mu_c) / (\sigma_c + \epsilon)` per channel over this process's batch.

    Args:
        feature: (B, C, N) or (B, C, H, W).
        eps: Added to the (unbiased) deviation.

    Returns:
        Same shape; 0, without gradient, where a channel is constant.
    """
    feature = as_float(feature)
    axes = [0, *range(2, feature.dim())]
    correction = min(1, feature[:, 0].numel() - 1)
    variance, mean = torch.var_mean(feature, axes, correction=correction, keepdim=True)
    limits = torch.finfo(variance.dtype)
    rounding = (4 * limits.eps * mean).square().clamp(min=limits.tiny)
    scores = (feature - mean) / (variance.clamp(min=limits.tiny).sqrt() + eps)
    return torch.where(variance > rounding, scores, torch.zeros_like(scores))


def pearson_distance(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Half the squared difference of standard scores, averaged over the channels.

    .. math:: \frac{1}{2C} \sum_c (\hat s_c - \hat t_c)^2

    Its mean over all cells is one minus the mean Pearson correlation of the channels. W. Cao, Y.
    Zhang, J. Gao, A. Cheng, K. Cheng, J. Cheng, "PKD: General distillation framework for object
    detectors via Pearson correlation coefficient", NeurIPS 2022, equations 2 to 4.

    Args:
        student: (B, C, N) or (B, C, H, W).
        teacher: Same shape.

    Returns:
        (B, N) or (B, H, W) un-reduced.
    """
    return 0.5 * (standard_scores(student) - standard_scores(teacher)).square().mean(1)
