"""Which of a teacher's channels a narrower student keeps."""

from __future__ import annotations

import torch
from torch import Tensor

LEADING, BN_SCALE, OFA = "FNAV2", "BN_SCALE", "OFA"
STRATEGIES = (LEADING, BN_SCALE, OFA)


def bn_scales(gamma: Tensor) -> Tensor:
    """Return the importance of channels by the BatchNorm behind them: (C,) -> |gamma| (C,).

    Z. Liu, J. Li, Z. Shen, G. Huang, S. Yan, C. Zhang, "Learning efficient convolutional networks
    through network slimming", ICCV 2017.
    """
    return gamma.abs()


def filter_norms(weight: Tensor, inputs: Tensor | None = None) -> Tensor:
    """Return the importance of output channels by the L1 norm of their filters.

    H. Cai, C. Gan, T. Wang, Z. Zhang, S. Han, "Once-for-all: train one network and specialize it
    for efficient deployment", ICLR 2020.

    Args:
        weight: (out, in, *kernel).
        inputs: The input channels that count; None: all.

    Returns:
        (out,).
    """
    if inputs is not None:
        weight = weight[:, inputs]
    return weight.abs().flatten(1).sum(1)


def best(scores: Tensor, count: int) -> Tensor:
    """Return the indices of the `count` highest scores, best first; of equals, the first ones."""
    return torch.argsort(scores, descending=True, stable=True)[:count]
