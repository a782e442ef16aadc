"""Distances between anchor-encoded boxes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def residual_smooth_l1(student: Tensor, teacher: Tensor, beta: float = 1.0 / 9.0) -> Tensor:
    r"""Smooth L1 of encoded boxes summed over the code, with the sine of the yaw difference.

    The yaw term compares :math:`\sin\theta_s\cos\theta_t` with :math:`\cos\theta_s\sin\theta_t`,
    whose difference is :math:`\sin(\theta_s - \theta_t)`: opposite headings count as equal.
    Y. Yan et al., "SECOND: Sparsely embedded convolutional detection", Sensors 2018, eq. 3.

    Args:
        student: (..., 7) residuals x, y, z, dx, dy, dz, yaw.
        teacher: (..., 7).
        beta: Where the loss turns from quadratic to linear.

    Returns:
        (...,) un-reduced values.
    """
    yaw_s, yaw_t = student[..., 6:7], teacher[..., 6:7]
    student = torch.cat([student[..., :6], yaw_s.sin() * yaw_t.cos(), student[..., 7:]], dim=-1)
    teacher = torch.cat([teacher[..., :6], yaw_s.cos() * yaw_t.sin(), teacher[..., 7:]], dim=-1)
    return F.smooth_l1_loss(student, teacher, reduction="none", beta=beta).sum(-1)
