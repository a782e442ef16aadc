"""Where a map is active: spatial and channel attention without parameters."""

from __future__ import annotations

from torch import Tensor

from kd3d.losses.precision import as_float
from kd3d.losses.unit import unit_length


def spatial_attention(feature: Tensor, power: float = 2.0) -> Tensor:
    r"""Return each cell's mean power of activation, :math:`\frac{1}{C}\sum_c |f_c|^p`.

    Args:
        feature: (B, C, ...).
        power: p; 2: energy, 1: mean absolute value.

    Returns:
        (B, ...), non-negative.
    """
    return as_float(feature).abs().pow(power).mean(1)


def activity_error(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Squared difference of two maps' mean absolute activation.

    .. math:: \Big(\frac{1}{C}\sum_c |s_{ci}| - \frac{1}{D}\sum_c |t_{ci}|\Big)^2

    The spatial feature loss of J. Yang, S. Shi, R. Ding, Z. Wang, X. Qi, "Towards efficient 3D
    object detection with knowledge distillation" (SparseKD), NeurIPS 2022, its released code.

    Args:
        student: (B, C, H, W).
        teacher: (B, D, H, W), the same cells.

    Returns:
        (B, H, W) un-reduced.
    """
    return (spatial_attention(student, 1.0) - spatial_attention(teacher, 1.0)).square()


def attention_transfer(student: Tensor, teacher: Tensor, power: float = 2.0) -> Tensor:
    r"""Squared difference of two attention maps of unit length.

    .. math:: \Big(\frac{Q^S_i}{\|Q^S\|_2} - \frac{Q^T_i}{\|Q^T\|_2}\Big)^2, \qquad
        Q_i = \frac{1}{C}\sum_c |f_{ci}|^p

    S. Zagoruyko, N. Komodakis, "Paying more attention to attention: Improving the performance of
    convolutional neural networks via attention transfer" (AT), ICLR 2017, equation 2 (squared).
    A map that is zero everywhere has attention zero.

    Args:
        student: (B, C, N) or (B, C, H, W).
        teacher: (B, D, N) or (B, D, H, W), the same cells; D may differ from C.
        power: p.

    Returns:
        (B, N) un-reduced, N = H W; a sample's sum lies in 0..2.
    """
    ours, theirs = (
        unit_length(spatial_attention(feature, power).flatten(1), dim=1)
        for feature in (student, teacher)
    )
    return (ours - theirs).square()
