"""Contrast within a batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kd3d.losses.precision import as_float


def info_nce(student: Tensor, teacher: Tensor, temperature: float = 0.07) -> Tensor:
    r"""Cross-entropy of finding one's own teacher row among all teacher rows.

    .. math:: -\log \frac{\exp(s_i \cdot t_i / \tau)}{\sum_j \exp(s_i \cdot t_j / \tau)}

    A. van den Oord, Y. Li, O. Vinyals, "Representation learning with contrastive predictive
    coding", arXiv 2018, equation 4, with the dot product as its score.

    Args:
        student: (N, C), as a rule of unit length.
        teacher: (N, C).
        temperature: tau > 0.

    Returns:
        (N,) un-reduced, >= 0; the value for features that say nothing is log N.
    """
    logits = as_float(student) @ as_float(teacher).T / temperature
    labels = torch.arange(len(logits), device=logits.device)
    return F.cross_entropy(logits, labels, reduction="none")
