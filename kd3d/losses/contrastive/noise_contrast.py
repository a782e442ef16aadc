"""Contrast against drawn negatives by noise-contrastive estimation.

Y. Tian, D. Krishnan, P. Isola, "Contrastive representation distillation" (CRD), ICLR 2020,
section 3.1 and appendix.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kd3d.losses.precision import as_float


def pair_scores(anchor: Tensor, candidates: Tensor, temperature: float = 0.07) -> Tensor:
    r"""Return :math:`\exp(a \cdot b_k / \tau)`.

    Args:
        anchor: (B, C) of unit length.
        candidates: (B, K + 1, C) of the other model, the first being the anchor's own.
        temperature: tau > 0.

    Returns:
        (B, K + 1), positive, not yet divided by the partition constant Z.
    """
    dots = torch.einsum("bc,bkc->bk", as_float(anchor), as_float(candidates))
    return torch.exp(dots / temperature)


def noise_contrast(scores: Tensor, dataset_size: int, eps: float = 1e-7) -> Tensor:
    r"""Binary cross-entropy of telling the pair from K negatives.

    .. math:: -\log \frac{h_0}{h_0 + K / M} - \sum_{k=1}^{K} \log \frac{K / M}{h_k + K / M}

    Args:
        scores: h, (B, K + 1): scores divided by the partition constant, the pair first.
        dataset_size: M, the number of rows from which negatives are drawn.
        eps: Added to denominators.

    Returns:
        (B,) un-reduced.
    """
    noise = (scores.shape[1] - 1) / dataset_size
    pair, negatives = scores[:, 0], scores[:, 1:]
    own = torch.log(pair / (pair + noise + eps))
    rest = torch.log(noise / (negatives + noise + eps)).sum(1)
    return -(own + rest)


def partition(scores: Tensor, dataset_size: int) -> Tensor:
    """Return the estimate of Z from a first batch of scores: their mean times the data's size."""
    return scores.detach().mean() * dataset_size
