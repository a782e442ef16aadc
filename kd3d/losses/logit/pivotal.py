"""SparseKD's loss of class scores, and that of a second stage's predictions.

J. Yang, S. Shi, R. Ding, Z. Wang, X. Qi, "Towards efficient 3D object detection with knowledge
distillation" (SparseKD), NeurIPS 2022; where it looks: `kd3d.masks.pivotal`.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kd3d.losses.reduce import masked_mean


def score_error(student: Tensor, teacher: Tensor, smooth: bool = False) -> Tensor:
    r"""Return :math:`\sum_k (p_k - q_k)^2` of class probabilities.

    Args:
        student: (B, N, K) probabilities.
        teacher: The same.
        smooth: Smooth L1 instead of the square.

    Returns:
        (B, N) un-reduced, summed over classes.
    """
    if smooth:
        return F.smooth_l1_loss(student, teacher, reduction="none").sum(-1)
    return (student - teacher).square().sum(-1)


def roi_response(
    student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor], foreground: Tensor
) -> tuple[Tensor, Tensor]:
    r"""Distances between what two second stages say of the same regions of interest.

    Args:
        student: Class logits (R, K) and encoded boxes (R, D) of R regions.
        teacher: The same, of the same regions.
        foreground: (R,) weights of 0 or 1: regions whose boxes count.

    Returns:
        Smooth L1 of the logits, mean over all; smooth L1 of the boxes, summed over the code, mean
        over the foreground. Both are 0, attached to the graph, where there is no region.
    """
    scores = F.smooth_l1_loss(student[0], teacher[0], reduction="none")
    boxes = F.smooth_l1_loss(student[1], teacher[1], reduction="none").sum(-1)
    return masked_mean(scores), masked_mean(boxes[None], foreground[None])
