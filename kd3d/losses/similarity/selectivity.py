"""Which cells the neurons of a layer are selective for."""

from __future__ import annotations

from torch import Tensor

from kd3d.losses.precision import as_float
from kd3d.losses.unit import unit_length


def neuron_selectivity(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Maximum mean discrepancy of two sets of channels under the kernel :math:`(a^\top b)^2`.

    .. math:: \frac{1}{C_T^2} \sum_{ij} (t_i^\top t_j)^2 + \frac{1}{C_S^2} \sum_{ij}
        (s_i^\top s_j)^2 - \frac{2}{C_S C_T} \sum_{ij} (s_i^\top t_j)^2

    with each channel scaled to length 1 over the cells. Z. Huang, N. Wang, "Like what you like:
    Knowledge distill via neuron selectivity transfer" (NST), arXiv:1707.01219, 2017, equations 6
    and 10 (d = 2, c = 0).

    Args:
        student: (B, C, N) or (B, C, H, W).
        teacher: (B, D, N) or (B, D, H, W), the same cells.

    Returns:
        (B,) un-reduced, not negative up to rounding.
    """
    ours, theirs = (unit_length(as_float(f).flatten(2), dim=2) for f in (student, teacher))

    def kernel(first: Tensor, second: Tensor) -> Tensor:
        return (first @ second.transpose(1, 2)).square().mean((1, 2))

    return kernel(theirs, theirs) + kernel(ours, ours) - 2 * kernel(ours, theirs)
