"""Per-position distances between two feature maps or two sets of feature rows.

All take (B, C, H, W) and give (B, H, W), or take (B, N, C) and give (B, N): the channel axis is
averaged, so that the value does not grow with the teacher's width (but for `euclidean`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def _channel_axis(student: Tensor, teacher: Tensor) -> int:
    if student.shape != teacher.shape:
        raise ValueError(f"student {tuple(student.shape)} against teacher {tuple(teacher.shape)}")
    return {4: 1, 3: 2}[student.dim()]


def squared_error(student: Tensor, teacher: Tensor) -> Tensor:
    r""":math:`\frac{1}{C}\sum_c (s_c - t_c)^2`.

    A. Romero et al., "FitNets: Hints for thin deep nets", ICLR 2015, eq. 3 (without its 1/2).
    """
    return (student - teacher).square().mean(_channel_axis(student, teacher))


def absolute_error(student: Tensor, teacher: Tensor) -> Tensor:
    r""":math:`\frac{1}{C}\sum_c |s_c - t_c|`."""
    return (student - teacher).abs().mean(_channel_axis(student, teacher))


def smooth_l1(student: Tensor, teacher: Tensor, beta: float = 1.0) -> Tensor:
    r"""Mean over channels of the Huber-like loss, quadratic below `beta`.

    R. Girshick, "Fast R-CNN", ICCV 2015, eq. 3 (beta = 1).
    """
    axis = _channel_axis(student, teacher)
    return F.smooth_l1_loss(student, teacher, reduction="none", beta=beta).mean(axis)


def cosine_distance(student: Tensor, teacher: Tensor, eps: float = 1e-6) -> Tensor:
    r""":math:`1 - \frac{s \cdot t}{\max(|s| |t|, \epsilon)}`, 0 to 2; 1 where a vector is zero."""
    return 1.0 - F.cosine_similarity(student, teacher, dim=_channel_axis(student, teacher), eps=eps)


def euclidean(student: Tensor, teacher: Tensor) -> Tensor:
    r""":math:`\sqrt{\sum_c (s_c - t_c)^2}`, whose gradient is 0 where both are equal."""
    axis = _channel_axis(student, teacher)
    return torch.linalg.vector_norm(student - teacher, dim=axis)
