"""What terms on raw head outputs share: alignment of two heads, and which rows count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from kd3d.adapters import MetricResample
from kd3d.core.context import Context
from kd3d.core.spec import FeatureSpec
from kd3d.core.term import Term
from kd3d.errors import UserError, did_you_mean
from kd3d.losses.logit.class_rows import class_rows, row_targets, with_background
from kd3d.losses.logit.head_response import BOX_MAPS
from kd3d.losses.reduce import global_normaliser, masked_mean
from kd3d.masks.boxes import class_gaussians

FORMS = ("sigmoid", "softmax", "classes")
POSITIONS = ("confident", "all", "truth")
LAYOUTS = ("center_head", "anchor_head")


class HeadTerm(Term):
    """A term between two heads of one kind and one number of classes.

    Args:
        name: See `Term`.
        student: See `Term`.
        teacher: See `Term`.
        weight: See `Term`.
        form: What a row's distribution is: ``sigmoid``: each class a yes or no; ``softmax``: the
            classes and a background of logit 0 compete; ``classes``: the classes compete alone.
        positions: Which rows count: ``confident``: by the larger of both models' highest score,
            relative to the sum of the teacher's; ``all``: alike; ``truth``: rows of an object.
    """

    weighs_samples = True
    boxes: Any = False  # whether box maps are compared, which cannot be resampled
    border = False  # whether an object outside the map counts at its border
    on_teacher = False  # maps of other grids are compared on the teacher's cells; boxes by object

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict[str, Any] = 1.0,
        form: str = "sigmoid",
        positions: str = "confident",
    ) -> None:
        super().__init__(name, student, teacher, weight)
        for value, known in ((form, FORMS), (positions, POSITIONS)):
            if value not in known:
                raise UserError(f"unknown {value!r}", f"term {name}", did_you_mean(value, known))
        self.form, self.positions = form, positions
        self.resample: MetricResample | None = None

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Refuse heads of two kinds; align class maps of other grids in metres."""
        self.spec = teacher if self.on_teacher else student
        self.layout, where = student.layout, f"term {self.name}"
        if student.layout not in LAYOUTS or student.layout != teacher.layout:
            raise UserError(
                f"the student has {student}, the teacher {teacher}",
                where,
                "tap two centre heads or two anchor heads",
            )
        on_image = not (student.is_bev or teacher.is_bev) and student.shape == teacher.shape
        if student.same_grid(teacher) or on_image:
            return
        if self.layout == "anchor_head" or (self.boxes and not self.on_teacher):
            raise UserError(
                f"the heads have other grids: {student} and {teacher}",
                where,
                "give both models the same voxel size, range and stride, or compare the scores of "
                "centre heads alone (boxes=0)",
            )
        source = student if self.on_teacher else teacher
        self.resample = MetricResample(source, self.spec, where)

    def reads(self) -> dict[str, Any] | None:
        """Return the maps of a centre head that are compared."""
        if self.layout != "center_head":
            return None
        return {"maps": ["heatmap", *(BOX_MAPS if self.boxes else ())]}

    def logits(self, student: Any, teacher: Any) -> tuple[Tensor, Tensor]:
        """Return both heads' class logits (B, N, K), on the student's rows."""
        if self.resample is not None:
            teacher = [[{"heatmap": self.resampled(task[0]["heatmap"])}] for task in teacher]
        ours, theirs = class_rows(student, self.layout), class_rows(teacher, self.layout)
        if ours.shape != theirs.shape:
            raise UserError(
                f"class rows {tuple(ours.shape)} and {tuple(theirs.shape)}",
                f"term {self.name}",
                "both heads need the same classes and anchors",
            )
        return ours, theirs

    def distributions(self, ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (B, N, K or K + 1) whose last axis competes; see `form`."""
        if self.form == "softmax":
            return with_background(ours), with_background(theirs)
        if ours.shape[-1] < 2:
            raise UserError(
                "one class has nothing to compete with", f"term {self.name}", "form='softmax'"
            )
        return ours, theirs

    def targets(self, rows: Tensor, context: Context) -> Tensor:
        """Return the ground truth's class (B, N) of rows (B, N, K); K is background."""
        return row_targets(self._class_maps(rows.shape[-1], rows.device, context), rows.shape[1])

    def reduce(
        self, value: Tensor, ours: Tensor, theirs: Tensor, context: Context, truth: Tensor | None
    ) -> Tensor:
        """Return the mean of values (B, N) over the rows that count.

        Args:
            value: Un-reduced.
            ours: The student's logits (B, N, K).
            theirs: The teacher's.
            context: The batch.
            truth: (B, N) classes of `targets`, or None where they were not asked for.
        """
        of_sample = self.sample_weight(context)
        if of_sample is not None:
            value = value * of_sample.view(-1, 1)
        if self.positions == "all":
            return masked_mean(value)
        if self.positions == "truth":
            truth = self.targets(ours, context) if truth is None else truth
            return masked_mean(value, (truth < ours.shape[-1]).to(value.dtype))
        weight, total = confidence(ours, theirs)
        return (value * weight).sum() / global_normaliser(total, minimum=1e-6)

    def resampled(self, logits: Tensor) -> Tensor:
        """Return the teacher's class logits (B, K, H, W) on the student's cells."""
        assert self.resample is not None
        return self.resample(logits.sigmoid()).clamp(1e-6, 1 - 1e-6).logit()

    def _class_maps(self, classes: int, device: torch.device, context: Context) -> Tensor:
        """Return (B, K, H, W) Gaussians of the ground truth of each class."""
        if not self.spec.is_bev:
            raise UserError(f"{self.spec} has no place in metres", f"term {self.name}")
        assert self.spec.extent_m is not None
        assert self.spec.shape is not None
        boxes = [one.to(device) for one in context.boxes]
        extent, shape = self.spec.extent_m, self.spec.shape
        return class_gaussians(boxes, context.labels, classes, extent, shape, self.border)


def confidence(ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weights (B, N) of rows and their normaliser.

    A row counts by the highest score that either model gives it, so that missed objects and false
    alarms both do; the sum of the teacher's scores alone is the normaliser, which the student
    cannot change.

    Args:
        ours: The student's logits (B, N, K).
        theirs: The teacher's.
    """
    teacher = theirs.sigmoid().amax(-1)
    return torch.maximum(teacher, ours.detach().sigmoid().amax(-1)), teacher.sum()


class TargetTerm(HeadTerm):
    """A head term whose loss treats each row's target class apart; see `losses.logit.target_class`.

    Args:
        name: See `Term`.
        student: See `Term`.
        teacher: See `Term`.
        weight: See `Term`.
        form: ``softmax`` or ``classes``, see `HeadTerm`.
        positions: See `HeadTerm`.
        target: ``truth``: the class of the ground truth, else background; ``teacher``: the
            teacher's most likely class, for frames without ground truth.
        **options: Of the loss.
    """

    loss: Callable[..., Tensor]

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict[str, Any] = 1.0,
        form: str = "softmax",
        positions: str = "confident",
        target: str = "truth",
        **options: Any,
    ) -> None:
        super().__init__(name, student, teacher, weight, form, positions)
        if form == "sigmoid" or target not in ("truth", "teacher"):
            raise UserError(
                f"form {form!r} with target {target!r}",
                f"term {name}",
                "form is softmax or classes, target is truth or teacher",
            )
        self.target, self.options = target, options

    def distance(self, student: Any, teacher: Any, context: Context) -> Tensor:
        """Return the mean of the loss over the rows that count."""
        ours, theirs = self.logits(student, teacher)
        p, q = self.distributions(ours, theirs)
        truth = self.targets(ours, context) if self.target == "truth" else None
        target = q.argmax(-1) if truth is None else truth.clamp(max=p.shape[-1] - 1)
        value = type(self).loss(p, q, target, **self.options)
        return self.reduce(value, ours, theirs, context, truth)
