"""CrossKD's prediction mimicking, between the two models' own heads."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from kd3d.core.card import MethodCard
from kd3d.core.context import Context
from kd3d.core.head_term import HeadTerm, confidence
from kd3d.core.registry import METHODS, TERMS
from kd3d.losses.box.residual import residual_smooth_l1
from kd3d.losses.logit.class_rows import box_rows
from kd3d.losses.logit.mimicking import class_mimicking
from kd3d.losses.reduce import masked_mean

CARD = MethodCard(
    name="crosskd",
    title="J. Wang, Y. Chen, Z. Zheng, X. Li, M.-M. Cheng, Q. Hou: CrossKD: Cross-head knowledge "
    "distillation for object detection, its prediction mimicking",
    venue="CVPR 2024",
    paper="arXiv:2306.11369",
    idea="Scores follow the teacher's by a focal loss on every row, boxes where the teacher is "
    "confident.",
    equation="L = sum_i w_i QFL_1(s_i, t_i) / sum_i t_i + beta sum_i r_i |b_s - b_t| / sum_i r_i, "
    "r_i = max_c sigma(t_ic)",
    source=("logit",),
    schemes=("offline", "online", "self"),
    algorithm=(),
    needs=("head",),
    heads=("CenterHead", "Anchor3DHead"),
    status=("parity-tested",),
    differences=(
        "the heads are not crossed: predictions of the student's own head are compared, the "
        "baseline that the paper calls prediction mimicking",
        "boxes by smooth L1 of the box code; the authors' heads have distributions (divergence) or "
        "image boxes (GIoU)",
        "class losses count by the models' scores and are divided by the sum of the teacher's; the "
        "authors count all rows and divide by the number of positives",
        "official_parity=True: all rows, divided by the number of rows of objects, at least 1",
    ),
)


@METHODS.register_module()
def crosskd(
    teacher: str = "teacher",
    weight: float | dict = 1.0,
    boxes: float = 0.25,
    beta: float = 1.0,
    name: str = "crosskd",
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the term of prediction mimicking.

    Args:
        teacher: The teacher's name.
        weight: Number or schedule of the whole term.
        boxes: Weight of the box part, relative to it.
        beta: Focusing exponent of the class part.
        name: The term's name.
        official_parity: The authors' normaliser.
    """
    return [
        dict(
            type="MimickingTerm",
            name=name,
            student="student:head",
            teacher=f"{teacher}:head",
            weight=weight,
            box_weight=boxes,
            beta=beta,
            official_parity=official_parity,
        )
    ]


@TERMS.register_module()
class MimickingTerm(HeadTerm):
    """Class and box mimicking; see `crosskd`."""

    boxes = True

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict = 1.0,
        box_weight: float = 0.25,
        beta: float = 1.0,
        official_parity: bool = False,
    ) -> None:
        super().__init__(name, student, teacher, weight)
        self.box_weight, self.beta, self.official = box_weight, beta, official_parity

    def distance(self, student: Any, teacher: Any, context: Context) -> Tensor:
        """Return the class part + box_weight * the box part."""
        ours, theirs = self.logits(student, teacher)
        weight, total = confidence(ours, theirs)
        reliable = theirs.sigmoid().amax(-1)
        of_sample = self.sample_weight(context)
        share = ours.new_ones(len(ours), 1) if of_sample is None else of_sample.view(-1, 1)
        if self.official:
            weight = weight.new_ones(weight.shape)
            total = (self.targets(ours, context) < ours.shape[-1]).sum().clamp(min=1).to(total)
        scores = class_mimicking(ours, theirs, weight * share, total, self.beta)
        code_s, code_t = (box_rows(head, self.layout) for head in (student, teacher))
        if self.layout == "anchor_head":
            value = residual_smooth_l1(code_s, code_t)
        else:
            value = F.smooth_l1_loss(code_s, code_t, reduction="none").sum(-1)
        repeats = value.shape[1] // ours.shape[1]  # a cell has a box for each task
        boxes = masked_mean(value * share, reliable.repeat(1, repeats))
        return scores + self.box_weight * boxes
