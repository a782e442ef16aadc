"""Distances between the raw outputs of two detection heads.

Y. Hong, H. Dai, Y. Ding, "Cross-modality knowledge distillation network for monocular 3D object
detection" (CMKD), ECCV 2022, section 3.3: soft class scores by quality focal loss, boxes where the
teacher is confident.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from kd3d.losses.box.residual import residual_smooth_l1
from kd3d.losses.logit.quality_focal import quality_focal
from kd3d.losses.reduce import global_normaliser, masked_mean

BOX_MAPS = ("reg", "height", "dim", "rot")


def center_scores(
    student_logits: Tensor,
    teacher_logits: Tensor,
    beta: float = 2.0,
    confident: float = 0.3,
    clamp: float = 0.0,
) -> Tensor:
    r"""Quality focal loss of centre heat maps over the number of confident teacher cells.

    Args:
        student_logits: (B, K, H, W).
        teacher_logits: (B, K, H, W).
        beta: Focusing exponent.
        confident: A teacher score above this counts in the normaliser.
        clamp: Keep probabilities in [clamp, 1 - clamp] (the authors: 1e-4).

    Returns:
        A scalar.
    """
    teacher = teacher_logits.sigmoid()
    if clamp:
        teacher = teacher.clamp(clamp, 1 - clamp)
        bound = torch.logit(torch.tensor(1 - clamp, dtype=student_logits.dtype)).item()
        student_logits = student_logits.clamp(-bound, bound)
    count = global_normaliser((teacher > confident).sum(), minimum=1)
    return quality_focal(student_logits, teacher, beta).sum() / count


def center_boxes(
    student: dict[str, Tensor],
    teacher: dict[str, Tensor],
    confident: float = 0.1,
    sum_classes: bool = False,
    maps: Sequence[str] = BOX_MAPS,
) -> Tensor:
    r"""Smooth L1 of the box maps at confident cells, weighted by the teacher's score.

    Args:
        student: Maps ``heatmap, reg, height, dim, rot``, each (B, C, H, W).
        teacher: The same.
        confident: Cells whose teacher score is above this take part.
        sum_classes: Score = sum over classes (the authors) instead of the maximum.
        maps: The box maps that are compared; with ``vel`` both heads must have it.

    Returns:
        Sum over the box channels (8 without ``vel``), averaged over the cells by their scores'
        weights: with `sum_classes` the plain mean over cells of score x loss as in the authors'
        code, else the score-weighted mean. 0, attached to the graph, where no cell is confident.
    """
    scores = teacher["heatmap"].sigmoid()
    score = scores.sum(1) if sum_classes else scores.amax(1)  # (B, H, W)
    difference = F.smooth_l1_loss(
        torch.cat([student[k] for k in maps], 1),
        torch.cat([teacher[k] for k in maps], 1),
        reduction="none",
    ).sum(1)
    chosen = (score > confident).float()
    if sum_classes:
        return masked_mean(difference * score, chosen)
    return masked_mean(difference, chosen * score)


def anchor_rows(value: Tensor, size: int) -> Tensor:
    """Turn a head map (B, A * size, H, W) into rows (B, H * W * A, size)."""
    return value.permute(0, 2, 3, 1).reshape(len(value), -1, size)


def anchor_response(
    student: tuple[Tensor, Tensor, Tensor | None],
    teacher: tuple[Tensor, Tensor, Tensor | None],
    confident: float = 0.1,
    beta: float = 2.0,
    official: bool = False,
) -> dict[str, Tensor]:
    r"""Class, box and direction distances of two anchor heads with the same anchors.

    Args:
        student: Class logits (B, N, K), box residuals (B, N, 7) and direction logits (B, N, 2) or
            None, one row an anchor.
        teacher: The same.
        confident: An anchor whose teacher score is above this is confident.
        beta: Focusing exponent of the class loss.
        official: The authors' normalisers: class losses per sample and class, summed over the batch
            and not averaged; an anchor's score is the sum over classes. With data parallelism
            each process sums over its own part of the batch, as theirs does.

    Returns:
        ``scores``, ``boxes`` and ``directions``, unweighted scalars.
    """
    batch = len(student[0])
    soft = teacher[0].sigmoid()
    focal = quality_focal(student[0], soft, beta)
    if official:
        count = (soft > confident).sum(1, keepdim=True).clamp(min=1)
        scores = (focal / count).sum()
        weight = soft.sum(-1)
        sure = (weight > confident).to(weight.dtype)
        weight = weight * sure / sure.sum(1, keepdim=True).clamp(min=1) / batch
    else:
        scores = focal.sum() / global_normaliser((soft > confident).sum(), minimum=1)
        weight = soft.amax(-1)
        weight = weight * (weight > confident)
        weight = weight / global_normaliser(weight.sum(), minimum=1e-6)
    chosen = weight > 0  # most anchors are not: what weighs nothing is not computed
    weight = weight[chosen]
    boxes = (residual_smooth_l1(student[1][chosen], teacher[1][chosen]) * weight).sum()
    directions = boxes.new_zeros(())
    if student[2] is not None and teacher[2] is not None:
        target = teacher[2][chosen].argmax(-1)
        entropy = F.cross_entropy(student[2][chosen], target, reduction="none")
        directions = (entropy * weight).sum()
    return {"scores": scores, "boxes": boxes, "directions": directions}
