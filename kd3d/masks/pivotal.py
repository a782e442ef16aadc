"""Pivotal positions: the few rows of a head that a student is to learn from its teacher."""

from __future__ import annotations

import torch
from torch import Tensor


def pivotal_positions(
    scores: Tensor,
    foreground: Tensor | None = None,
    threshold: float = 0.0,
    soft: bool = True,
    rank: int | None = None,
) -> Tensor:
    r"""Return each row's weight.

    .. math:: w_i = [c_i > \theta]\; c_i^{soft}\; g_i, \qquad c_i = \max_k q_{ik}

    J. Yang, S. Shi, R. Ding, Z. Wang, X. Qi, "Towards efficient 3D object detection with knowledge
    distillation" (SparseKD), NeurIPS 2022.

    Args:
        scores: The teacher's class probabilities q (B, N, K).
        foreground: g, (B, N) non-negative weights; None: 1.
        threshold: theta.
        soft: Weigh by the teacher's confidence c.
        rank: Keep only this many rows of a sample, those of the highest confidence.

    Returns:
        (B, N) non-negative.
    """
    confidence = scores.amax(-1)
    weight = (confidence > threshold).to(confidence.dtype)
    if soft:
        weight = weight * confidence
    if foreground is not None:
        weight = weight * foreground
    if rank is not None:
        best = confidence.topk(min(rank, confidence.shape[1]), 1).indices
        weight = weight * torch.zeros_like(weight).scatter_(1, best, 1.0)
    return weight
