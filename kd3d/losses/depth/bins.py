"""Depth distributions against the bins of measured depths, cell by cell."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kd3d.losses.precision import as_float


def one_hot_bins(index: Tensor, bins: int) -> Tensor:
    """Return (B, D, H, W), 1 in the bin of each cell, of indices (B, H, W); outside 0..D-1: none.

    Args:
        index: int64.
        bins: D.
    """
    known = (index >= 0) & (index < bins)
    target = F.one_hot(index.clamp(0, bins - 1), bins).movedim(-1, 1)
    return (target * known[:, None]).to(torch.get_default_dtype())


def bin_entropy(logits: Tensor, target: Tensor, competing: bool = True) -> Tensor:
    r"""Binary cross-entropy of every bin, summed over the bins.

    .. math:: -\sum_k y_k \log p_k + (1 - y_k) \log (1 - p_k)

    Args:
        logits: (B, D, H, W).
        target: y, (B, D, H, W), 0 or 1.
        competing: p is the softmax over the bins (BEVDepth and VCD); else each bin's sigmoid
            (TiG-BEV).

    Returns:
        (B, H, W) un-reduced.
    """
    logits, target = as_float(logits), target.to(as_float(logits).dtype)
    if competing:
        return F.binary_cross_entropy(logits.softmax(1), target, reduction="none").sum(1)
    return F.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(1)
