"""CrossKD: the student's feature through the teacher's head, and prediction mimicking."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from kd3d.adapters import FeatureAdapter, MetricResample
from kd3d.core.card import MethodCard
from kd3d.core.context import Context
from kd3d.core.head_rest import BRANCHES, MID, HeadRest
from kd3d.core.head_term import HeadTerm, confidence
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.spec import FeatureSpec
from kd3d.core.taps import head_of
from kd3d.errors import UserError, did_you_mean
from kd3d.losses.box.residual import residual_smooth_l1
from kd3d.losses.feature.align_scale import align_scale
from kd3d.losses.logit.class_rows import box_rows
from kd3d.losses.logit.mimicking import class_mimicking
from kd3d.losses.reduce import masked_mean

CARD = MethodCard(
    name="crosskd",
    title="J. Wang, Y. Chen, Z. Zheng, X. Li, M.-M. Cheng, Q. Hou: CrossKD: Cross-head knowledge "
    "distillation for object detection",
    venue="CVPR 2024",
    paper="arXiv:2306.11369",
    idea="What the teacher's head makes of the student's feature follows what it makes of the "
    "teacher's, so the student's own head obeys the ground truth alone.",
    equation="L = sum_i w_i QFL_1(h_t(a(f_s))_i, p_ti) / sum_i t_i + beta sum_i r_i |b_h - b_t| / "
    "sum_i r_i, r_i = max_c sigma(p_tic), a to the teacher's mean and deviation",
    source=("logit",),
    routes=("image to image",),
    schemes=("offline", "online", "self"),
    algorithm=(),
    needs=("head_mid", "head"),
    heads=("CenterHead", "Anchor3DHead"),
    same=(),
    status=("parity-tested", "formula-tested"),
    differences=(
        "the student crosses after a centre head's shared convolution, cross='branches' after the "
        "first convolution of each branch (index 3 of the authors' longer branches); anchor heads "
        "here have nothing but 1x1 predictors, so the neck's map crosses",
        "where the widths differ a 1x1 convolution comes before the alignment, and where the grids "
        "differ the student is read at the teacher's cells in metres; the authors' models agree in "
        "both",
        "boxes by smooth L1 of the box code; the authors' heads have distributions (divergence) or "
        "image boxes (GIoU)",
        "class losses count by the models' scores and are divided by the sum of the teacher's; the "
        "authors count all rows and divide by the number of positives",
        "cross=None: predictions of the student's own head, the paper's prediction mimicking; the "
        "heads must then be of one kind",
        "official_parity=True: all rows, divided by the number of rows of objects, at least 1",
    ),
)
POINTS = {"shared": MID, "branches": BRANCHES}


@METHODS.register_module()
def crosskd(
    teacher: str = "teacher",
    weight: float | dict = 1.0,
    boxes: float = 0.25,
    beta: float = 1.0,
    cross: str | None = "shared",
    name: str = "crosskd",
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the term of cross-head distillation.

    Args:
        teacher: The teacher's name.
        weight: Number or schedule of the whole term.
        boxes: Weight of the box part, relative to it.
        beta: Focusing exponent of the class part.
        cross: Where the student enters the teacher's head: ``shared``, ``branches`` (centre heads
            only), or None: nowhere, the two heads' predictions are compared.
        name: The term's name.
        official_parity: The authors' normaliser.
    """
    if cross is not None and cross not in POINTS:
        raise UserError(f"unknown cross {cross!r}", "crosskd", did_you_mean(cross, POINTS))
    tap = "head" if cross is None else f"{POINTS[cross]},head"
    return [
        dict(
            type="MimickingTerm" if cross is None else "CrossHeadTerm",
            name=name,
            student=f"student:{tap}",
            teacher=f"{teacher}:{tap}",
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
        return self.mimicked(student, teacher, context, None)

    def mimicked(
        self, student: Any, teacher: Any, context: Context, covered: Tensor | None
    ) -> Tensor:
        """Return the loss between two heads' raw outputs.

        Args:
            student: The student's, or what the teacher's head makes of the student's feature.
            teacher: The teacher's.
            context: The batch.
            covered: (H * W,) 0 or 1, the cells that count; None: all.
        """
        ours, theirs = self.logits(student, teacher)
        count = ours.shape[1]
        rows = ours.new_ones(count)
        if covered is not None:
            rows = covered.repeat_interleave(count // len(covered))  # the anchors of a cell
        weight, _ = confidence(ours, theirs)
        weight, reliable = weight * rows, theirs.sigmoid().amax(-1) * rows
        total = reliable.sum()
        of_sample = self.sample_weight(context)
        share = ours.new_ones(len(ours), 1) if of_sample is None else of_sample.view(-1, 1)
        if self.official:
            weight = rows.expand_as(weight)
            total = (self.targets(ours, context) < ours.shape[-1]).sum().clamp(min=1).to(total)
        scores = class_mimicking(ours, theirs, weight * share, total, self.beta)
        code_s, code_t = (box_rows(head, self.layout) for head in (student, teacher))
        if self.layout == "anchor_head":
            value = residual_smooth_l1(code_s, code_t)
        else:
            value = F.smooth_l1_loss(code_s, code_t, reduction="none").sum(-1)
        repeats = value.shape[1] // count  # a cell has a box for each task
        boxes = masked_mean(value * share, reliable.repeat(1, repeats))
        return scores + self.box_weight * boxes


@TERMS.register_module()
class CrossHeadTerm(MimickingTerm):
    """Mimicking of what the teacher's head makes of the student's feature; see `crosskd`.

    Both models' taps are the features at one point of `kd3d.core.head_rest.middle_taps`, then the
    head. The student's head may be of any kind: it is not compared.
    """

    needs_detector = True

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Make what brings each feature of the student to its place in the teacher's head."""
        where = f"term {self.name}"
        *ours, _ = student.each
        *theirs, head = teacher.each
        super().build(head, head)
        self.point = self.teacher_tap.split("/")[-1].split(",")[0]
        self._rest()  # refuses a head without this point
        if len(ours) != len(theirs):
            raise UserError(
                f"the student's head has {len(ours)} branches, the teacher's {len(theirs)}",
                where,
                "cross='shared'",
            )
        self.adapters = nn.ModuleList(
            FeatureAdapter(s, t, where).project for s, t in zip(ours, theirs)
        )
        self.to_teacher = None
        if not ours[0].same_grid(theirs[0]):
            self.to_teacher = MetricResample(ours[0], theirs[0], where)

    def reads(self) -> None:
        """A store cannot hold the teacher's head."""
        return None

    def _rest(self) -> HeadRest:
        return HeadRest(head_of(self.detector()), self.point, f"term {self.name}")

    def distance(self, student: list, teacher: list, context: Context) -> Tensor:
        """Return the mimicking loss of the crossed predictions.

        Args:
            student: Features (B, C_s, H, W) at the point, then the head's output (not read).
            teacher: Features (B, C_t, H', W') there, then the head's output.
            context: The batch.
        """
        inside = None if self.to_teacher is None else self.to_teacher.valid[0, 0]
        crossed = []
        for adapter, ours, theirs in zip(self.adapters, student, teacher):
            feature = adapter(ours)
            if self.to_teacher is not None:
                feature = self.to_teacher(feature)
            crossed.append(
                align_scale(feature, theirs, covered=None if inside is None else inside > 0)
            )
        covered = None if inside is None else inside.flatten()
        return self.mimicked(self._rest()(crossed), teacher[-1], context, covered)
