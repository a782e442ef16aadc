"""Errors of a map and of its ever coarser means."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from kd3d.losses.precision import as_float


def hierarchical_error(
    student: Tensor, teacher: Tensor, levels: Sequence[int] = (4, 2, 1)
) -> Tensor:
    r"""Mean squared errors of a map and of its averages on coarse grids, each half as heavy.

    .. math:: \frac{\sum_k 2^{-k} \operatorname{mse}(P_k(s), P_k(t))}{\sum_k 2^{-k}}

    with P_0 the map itself and P_k its average on a grid of l_k x l_k cells. P. Chen, S. Liu, H.
    Zhao, J. Jia, "Distilling knowledge via knowledge review" (ReviewKD), CVPR 2021, section 3.3
    (hierarchical context loss); the weights are those of the released code.

    Args:
        student: (B, C, H, W).
        teacher: (B, C, H, W).
        levels: Cells a side of the coarse grids; those not below H are left out.

    Returns:
        (B,) un-reduced.
    """
    ours, theirs = as_float(student), as_float(teacher)
    value = (ours - theirs).square().mean((1, 2, 3))
    weight = total = 1.0
    for level in levels:
        if level >= ours.shape[2]:
            continue
        difference = F.adaptive_avg_pool2d(ours - theirs, level)
        weight /= 2
        total += weight
        value = value + weight * difference.square().mean((1, 2, 3))
    return value / total
