"""Which channels respond most in a cell."""

from __future__ import annotations

from torch import Tensor

from kd3d.losses.precision import as_float


def softmax_difference(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Absolute difference of the softmax over channels, summed over channels.

    .. math:: \sum_c |\mathrm{softmax}_c(s) - \mathrm{softmax}_c(t)|

    G. Bang, K. Choi, J. Kim, D. Kum, J. W. Choi, "RadarDistill: Boosting radar-based object
    detection performance via knowledge distillation from LiDAR features", CVPR 2024, proposal-based
    feature distillation.

    Args:
        student: (B, C, H, W).
        teacher: (B, C, H, W).

    Returns:
        (B, H, W) un-reduced, 0..2.
    """
    return (as_float(student).softmax(1) - as_float(teacher).softmax(1)).abs().sum(1)
