"""Each channel as a distribution over the cells."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kd3d.losses.precision import as_float


def channel_wise_divergence(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    r"""Divergence of two channels that are softened over the cells.

    .. math:: \tau^2 \sum_i \phi(t_c)_i \log \frac{\phi(t_c)_i}{\phi(s_c)_i}, \qquad
        \phi(f)_i = \frac{\exp(f_i / \tau)}{\sum_j \exp(f_j / \tau)}

    C. Shu, Y. Liu, J. Gao, Z. Yan, C. Shen, "Channel-wise knowledge distillation for dense
    prediction" (CWD), ICCV 2021, equations 4 and 5.

    Args:
        student: (B, C, N) or (B, C, H, W).
        teacher: Same shape.
        temperature: tau.

    Returns:
        (B, C) un-reduced.
    """
    ours = F.log_softmax(as_float(student).flatten(2) / temperature, 2)
    theirs = F.log_softmax(as_float(teacher).flatten(2) / temperature, 2)
    return temperature**2 * (theirs.exp() * (theirs - ours)).sum(2)
