"""A student's feature on the teacher's scale."""

from __future__ import annotations

import torch
from torch import Tensor


def align_scale(
    student: Tensor, teacher: Tensor, eps: float = 1e-6, covered: Tensor | None = None
) -> Tensor:
    r"""Standardise the student per channel and give it the teacher's mean and deviation.

    .. math:: \frac{s - \mu_s}{\sigma_s + \epsilon} (\sigma_t + \epsilon) + \mu_t

    Mean and (unbiased) deviation are over the batch and the cells of this process. J. Wang, Y.
    Chen, Z. Zheng, X. Li, M.-M. Cheng, Q. Hou, "CrossKD: Cross-head knowledge distillation for
    object detection", CVPR 2024, released code (the paper does not mention it).

    Args:
        student: (B, C, H, W).
        teacher: (B, C, H', W').
        eps: Added to deviations.
        covered: (H, W) bool, the cells whose mean and deviation are taken, of maps of one size;
            None: all.

    Returns:
        (B, C, H, W), attached to the student; with one value a channel it is the teacher's mean.
    """

    def moments(feature: Tensor) -> tuple[Tensor, Tensor]:
        values = feature.flatten(2) if covered is None else feature[:, :, covered]
        count = values[:, 0].numel()
        variance, mean = torch.var_mean(values, (0, 2), correction=min(1, count - 1))
        tiny = torch.finfo(variance.dtype).tiny  # the root has no finite slope at 0
        return mean.view(1, -1, 1, 1), variance.clamp(min=tiny).sqrt().view(1, -1, 1, 1)

    mean_s, deviation_s = moments(student)
    mean_t, deviation_t = moments(teacher)
    return (student - mean_s) / (deviation_s + eps) * (deviation_t + eps) + mean_t
