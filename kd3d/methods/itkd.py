"""itKD: maps interchanged through one auto-encoder, and attention over the heads' channels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from kd3d.adapters.interchange import Interchange
from kd3d.adapters.objects import rows_at
from kd3d.core.card import MethodCard
from kd3d.core.context import Context
from kd3d.core.head_term import HeadTerm
from kd3d.core.map_term import BevTerm
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.spec import FeatureSpec
from kd3d.errors import UserError, did_you_mean
from kd3d.losses import absolute_error, masked_mean, squared_error
from kd3d.losses.logit.head_channels import anchor_split, class_anchors, head_channels
from kd3d.losses.logit.head_response import BOX_MAPS
from kd3d.losses.similarity.channel_attention import head_attention
from kd3d.masks.boxes import centre_cells

CARD = MethodCard(
    name="itkd",
    title="H. Cho, J. Choi, G. Baek, W. Hwang: itKD: Interchange transfer-based knowledge "
    "distillation for 3D object detection",
    venue="CVPR 2023",
    paper="arXiv:2205.15531",
    idea="One channel-wise auto-encoder compresses both BEV maps; the opened teacher must look "
    "like the student and the opened student like the teacher, and heads must agree in how their "
    "channels attend to each other at objects.",
    equation="L = |u(U(D(u(s)))) - t| + |U(D(t)) - s| + |D(u(s)) - D(t)| + P(objects) + "
    "|A(head_s) - A(head_t)|, A(X) = X softmax(X^T X / sqrt(n))",
    source=("feature", "similarity", "logit"),
    routes=("lidar to lidar",),
    schemes=("offline", "online", "self"),
    algorithm=("attention",),
    needs=("bev", "head", "gt_boxes"),
    heads=("CenterHead", "Anchor3DHead"),
    status=("parity-tested",),
    differences=(
        "channels, classes and velocity come from the models; the authors fix 384, 96, 32 and 11, "
        "so that only one pair of models builds",
        "errors at objects and attention are means over the objects and channels of all "
        "processes; the authors count 500 slots a sample, empty ones too",
        "attention is scaled by the root of the number of objects, theirs by the root of the slots",
        "the teacher's map is standardised per channel",
        "both heads give logits; in the authors' code the student gives probabilities",
        "every task has its own attention loss; the authors add that of the first to all",
        "the whole teacher is frozen; the authors' optimizer decays the weights of its head",
        "an anchor head is read at the anchors of an object's class in the cell of its centre; "
        "the paper knows centre heads only",
        "the convex mix with the detection loss is the config's: model.task_weight = 1 - weight",
        "official_parity=True: the authors' slots, sums, raw teacher and mixed scores, per task",
    ),
    zero_when_equal=False,
)
SCORES = ("logits", "probabilities", "mixed")


@METHODS.register_module()
def itkd(
    teacher: str = "teacher",
    weight: float | dict = 0.5,
    attention: float | dict | None = 0.5,
    tap: str = "bev",
    code: int = 32,
    objects: float = 1.0,
    scores: str | None = None,
    velocity: bool = False,
    stop_gradient: bool = False,
    slots: int = 500,
    name: str = "interchange",
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the terms of itKD: interchange of BEV maps, attention of heads.

    Args:
        teacher: The teacher's name.
        weight: Weight (or schedule) of the interchange; the paper's mix lambda, with
            ``model.task_weight`` 1 - lambda.
        attention: Weight (or schedule) of the head attention; None leaves it out, where the heads
            do not fit.
        tap: Tap of both models, a BEV map.
        code: Channels of the auto-encoder's code.
        objects: Weight of the errors at object cells, relative to those of the whole map.
        scores: What heads give for classes: ``logits``, ``probabilities``, or ``mixed``:
            probabilities of the student and logits of the teacher; None: logits, published: mixed.
        velocity: Compare a centre head's velocities too; an anchor's code is compared whole.
        stop_gradient: The student is not drawn towards what the teacher is opened to.
        slots: Objects a sample that the authors reserve; published form only.
        name: The first term's name; the second is ``<name>_attention``.
        official_parity: The authors' sums and scales.
    """
    published = dict(slots=slots if official_parity else None)
    terms = [
        dict(
            type="InterchangeTerm",
            name=name,
            student=f"student:{tap}",
            teacher=f"{teacher}:{tap}",
            weight=weight,
            code=code,
            objects=objects,
            stop_gradient=stop_gradient,
            **published,
        )
    ]
    if attention is not None:
        head = dict(
            type="HeadAttentionTerm",
            name=f"{name}_attention",
            student="student:head",
            teacher=f"{teacher}:head",
            weight=attention,
            scores=scores or ("mixed" if official_parity else "logits"),
            velocity=velocity,
        )
        terms.append(head | published)
    return terms


@TERMS.register_module()
class InterchangeTerm(BevTerm):
    """Distances between two maps that one auto-encoder has interchanged; see `itkd`."""

    any_width = True

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict = 1.0,
        code: int = 32,
        objects: float = 1.0,
        stop_gradient: bool = False,
        slots: int | None = None,
    ) -> None:
        super().__init__(name, student, teacher, weight, normalise_teacher=slots is None)
        self.code, self.objects, self.stop, self.slots = code, objects, stop_gradient, slots

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Make the auto-encoder."""
        super().build(student, teacher)
        self.interchange = Interchange(student, teacher, self.code)

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return the distances both ways, on the map and at objects, and that of the codes."""
        ours, theirs, valid = self.maps(student, teacher)
        made = self.interchange(ours, theirs)
        target = ours.detach() if self.stop else ours
        cells = self._cells(context, valid, ours.device)
        total = self.mean(absolute_error(made.student_code, made.teacher_code), context, valid)
        for one, other in ((made.student_as_teacher, theirs), (made.teacher_as_student, target)):
            total = total + self.mean(absolute_error(one, other), context, valid)
            total = total + self.objects * self._at_objects(one, other, cells, context)
        return total

    def _cells(self, context: Context, valid: Tensor | None, device: torch.device) -> list[Tensor]:
        found = []
        for boxes in context.boxes:
            row, column, inside = centre_cells(boxes.to(device), *self.spec.grid)
            row, column = row[inside], column[inside]
            cells = row * self.spec.grid[1][1] + column
            if valid is not None:
                cells = cells[valid.flatten()[cells] > 0]
            found.append(cells)
        return found

    def _at_objects(
        self, one: Tensor, other: Tensor, cells: list[Tensor], context: Context
    ) -> Tensor:
        (rows, weight), (others, _) = (rows_at(f.flatten(2), cells) for f in (one, other))
        value = squared_error(rows, others)  # (B, N)
        if self.slots is None:
            return self.mean(value, context, weight)
        return self.mean(value.sum(1) / self.slots, context)


@TERMS.register_module()
class HeadAttentionTerm(HeadTerm):
    """Absolute difference of two heads' channel attention at objects; see `itkd`."""

    boxes = True

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict = 1.0,
        scores: str = "logits",
        velocity: bool = False,
        slots: int | None = None,
    ) -> None:
        super().__init__(name, student, teacher, weight)
        if scores not in SCORES:
            raise UserError(f"unknown {scores!r}", f"term {name}", did_you_mean(scores, SCORES))
        self.scores, self.velocity, self.slots = scores, velocity, slots
        self.names = (*BOX_MAPS, "vel") if velocity else BOX_MAPS

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Find each task's channels, and make the layer that mixes its two kinds of attention."""
        super().build(student, teacher)
        splits, others = (self._splits(spec) for spec in (student, teacher))
        if splits != others:
            raise UserError(
                f"the student's channels are {splits}, the teacher's {others}",
                f"term {self.name}",
                "both heads need the same tasks, classes and box code, or attention=None",
            )
        self.splits = splits
        self.mix = nn.ModuleList(nn.Linear(2 * sum(s), sum(s)) for s in splits)

    def reads(self) -> dict[str, Any] | None:
        """Return the maps of a centre head that are compared."""
        return {"maps": ["heatmap", *self.names]} if self.layout == "center_head" else None

    def distance(self, student: Any, teacher: Any, context: Context) -> Tensor:
        """Return the sum over tasks of the difference at objects."""
        soft = (self.scores != "logits", self.scores == "probabilities")
        heads = [
            head_channels(head, self.layout, self.names, probabilities)
            for head, probabilities in zip((student, teacher), soft)
        ]
        total, first = heads[0][0].new_zeros(()), 0
        for i, (ours, theirs) in enumerate(zip(*heads)):
            classes = self.splits[i][0]
            cells = self._cells(context, first, classes, ours.device)
            total = total + self._difference(i, ours, theirs, cells, context)
            first += classes
        return total

    def _difference(
        self, task: int, ours: Tensor, theirs: Tensor, cells: list[Tensor], context: Context
    ) -> Tensor:
        """Return one task's difference of maps (B, C, M) at their cells."""
        pair = [rows_at(maps, cells) for maps in (ours, theirs)]
        weight = pair[0][1]
        scale: Any = self.slots**0.5 if self.slots else weight.sum(1).clamp(min=1).sqrt()
        if not self.slots:
            scale = scale.view(-1, 1, 1)
        mixed = [self.mix[task](head_attention(r, self.splits[task], scale)) for r, _ in pair]
        value = absolute_error(*mixed)  # (B, N)
        of_sample = self.sample_weight(context)
        if of_sample is not None:
            value = value * of_sample.view(-1, 1)
        if self.slots:
            return (value * weight).sum() * sum(self.splits[task]) / (weight.sum() + 1e-4)
        return masked_mean(value, weight)

    def _splits(self, spec: FeatureSpec) -> list[list[int]]:
        """Return each task's channels: classes, then those of the box code's parts."""
        if self.layout == "anchor_head":
            if len(spec.maps) != 1:
                levels = f"the anchor head has {len(spec.maps)} levels"
                raise UserError(levels, f"term {self.name}", "one level, or attention=None")
            self.anchors, split = anchor_split(dict(spec.maps[0]))
            return [split]
        splits = []
        for task in map(dict, spec.maps):
            if missing := [name for name in ("heatmap", *self.names) if name not in task]:
                where = f"term {self.name}"
                raise UserError(f"{spec} lacks the maps {missing}", where, "velocity=False")
            splits.append([task[name] for name in ("heatmap", *self.names)])
        return splits

    def _cells(
        self, context: Context, first: int, classes: int, device: torch.device
    ) -> list[Tensor]:
        """Return a sample's cells (or anchors) of the objects of `classes` labels from `first`."""
        found = []
        for boxes, labels in zip(context.boxes, context.labels):
            own = labels.to(device) - first
            row, column, keep = centre_cells(boxes.to(device), *self.spec.grid)
            keep = keep & (own >= 0) & (own < classes)
            cells, own = (row * self.spec.grid[1][1] + column)[keep], own[keep]
            if self.layout == "anchor_head":
                cells = class_anchors(cells, own, classes, self.anchors)
            found.append(cells)
        return found
