"""The focal loss of heat maps."""

from __future__ import annotations

from torch import Tensor

from kd3d.losses.precision import as_float


def gaussian_focal(
    probability: Tensor, target: Tensor, alpha: float = 2.0, gamma: float = 4.0, eps: float = 1e-12
) -> Tensor:
    r"""Focal loss whose negatives count less near a centre.

    .. math:: \begin{cases} -(1 - p)^\alpha \log p & t = 1 \\
        -(1 - t)^\gamma p^\alpha \log (1 - p) & t < 1 \end{cases}

    H. Law, J. Deng, "CornerNet: Detecting objects as paired keypoints", ECCV 2018, equation 1.

    Args:
        probability: p, any shape, 0..1.
        target: t, same shape.
        alpha: Focus on what is wrong.
        gamma: Tolerance near a centre.
        eps: Keeps the logarithm finite.

    Returns:
        Un-reduced values of the same shape.
    """
    p, t = as_float(probability), as_float(target)
    centre = -(p + eps).log() * (1 - p).pow(alpha) * (t == 1)
    return centre - (1 - p + eps).log() * p.pow(alpha) * (1 - t).pow(gamma)
