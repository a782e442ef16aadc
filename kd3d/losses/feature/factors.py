"""Factors: compressed maps of which only the pattern counts."""

from __future__ import annotations

from torch import Tensor

from kd3d.losses.precision import as_float
from kd3d.losses.unit import unit_length


def factor_error(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Absolute difference of factors that are scaled to a root mean square of 1.

    .. math:: \frac{1}{C} \sum_c \Big| \frac{s_{ci}}{\|s\|_2 / \sqrt{n}} -
        \frac{t_{ci}}{\|t\|_2 / \sqrt{n}} \Big|, \qquad n = C H W

    J. Kim, S. Park, N. Kwak, "Paraphrasing complex network: Network compression via factor
    transfer" (FT), NeurIPS 2018, equation 2 with p = 1; there the factors have length 1, so the
    value shrinks with the square root of their size.

    Args:
        student: (B, C, H, W).
        teacher: (B, C, H, W).

    Returns:
        (B, H, W) un-reduced.
    """

    def scaled(factor: Tensor) -> Tensor:
        flat = unit_length(as_float(factor).flatten(1), dim=1)
        return flat.view_as(factor) * flat.shape[1] ** 0.5

    return (scaled(student) - scaled(teacher)).abs().mean(1)
