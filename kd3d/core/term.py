"""A term: one sentence of a method, from two taps to one number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from kd3d.adapters import FeatureAdapter
from kd3d.core.classes import ClassMatch
from kd3d.core.context import Context
from kd3d.core.foreground import Foreground, ForegroundSpec
from kd3d.core.registry import TERMS
from kd3d.core.schedules import build_schedule
from kd3d.core.spec import FeatureSpec
from kd3d.errors import UserError, did_you_mean
from kd3d.losses import feature_loss, masked_mean
from kd3d.losses.feature.standardise import channel_moments, standardise_rows, standardised
from kd3d.losses.precision import in_float32
from kd3d.masks.boxes import box_mask, gaussian_mask

MASKS: dict[str, Callable[..., Tensor]] = {"box": box_mask, "gaussian": gaussian_mask}


class Term(nn.Module):
    """Base of all terms.

    A subclass sets up what it trains in `build`, which is called once with both specs, and returns
    an unweighted scalar from `distance`. Inputs arrive in float32, the teacher's detached.

    Args:
        name: Key in logs and checkpoints; unique in the distiller.
        student: The student's tap, ``"student:<path or alias>"``.
        teacher: The teacher's tap, ``"<teacher>:<path or alias>"``.
        weight: A number or a schedule's config.

    Attributes:
        weighs_samples: Whether `distance` respects `sample_weight`; where it does not, a teacher
            that weighs its samples is refused.
        joined: Set by the distiller: the boxes of the context are those that the student is
            trained on, a teacher's among them (`kd3d.core.labels`), not the ground truth alone.
        needs_detector: Whether the term runs a part of the teacher itself; teachers without a
            detector of their own (ensembles, caches) are refused.
        alone: Whether its target is measured and no model's: both its taps are then one.
    """

    weight: Tensor
    weighs_samples = False
    joined = False
    needs_detector = False
    alone = False

    def __init__(
        self, name: str, student: str, teacher: str, weight: float | dict[str, Any] = 1.0
    ) -> None:
        super().__init__()
        if "loss" in name or "." in name:
            raise UserError("a term's name holds no dot and not the word 'loss'", f"term {name}")
        self.name = name
        self.student_branch, self.student_tap = split_tap(student, name)
        self.teacher_branch, self.teacher_tap = split_tap(teacher, name)
        self.further_specs: dict[str, FeatureSpec] = {}
        self.classes: ClassMatch | None = None
        self.schedule = build_schedule(weight)
        self.register_buffer("weight", torch.tensor(self.schedule(0.0)), persistent=False)

    def set_progress(self, progress: float) -> None:
        """Move the weight along its schedule."""
        self.weight.fill_(self.schedule(progress))

    def further(self) -> tuple[str, ...]:
        """Return the addresses of further taps of its two models that this term reads.

        Their specs are in `further_specs` when `build` is called, their values in `Context.taps`.
        """
        return ()

    def attach(self, detector: Callable[[], Any], learner: Callable[[], Any]) -> None:
        """Told once of its two models' detectors, before `build`.

        Args:
            detector: Returns the detector that alone gives the teacher's tap, or None. It is a
                function, so that the detector becomes no part of the term or of copies of it.
            learner: Returns that of the student's side.

        Raises:
            UserError: The term needs a detector, and the teacher has none.
        """
        if self.needs_detector and detector() is None:
            raise UserError(
                "this term runs a part of the teacher's detector, and this teacher has none",
                f"term {self.name}",
                "read a single live teacher",
            )
        self.detector, self.learner = detector, learner

    def match_classes(self, student: FeatureSpec, teacher: FeatureSpec) -> FeatureSpec:
        """Match two centre heads' classes by name; called before `build`.

        Returns:
            The spec of what `distance` gets of the teacher: in the student's tasks.

        Raises:
            UserError: The teacher lacks a class, or the term runs a part of the teacher's head,
                whose tasks are other ones.
        """
        if not student.classes or not teacher.classes:
            return teacher
        self.classes = ClassMatch.of(student.classes, teacher.classes, f"term {self.name}")
        if self.classes is None:
            return teacher
        if self.needs_detector:
            raise UserError(
                f"it runs a part of the teacher's head, whose tasks are {teacher.classes}, the "
                f"student's {student.classes}",
                f"term {self.name}",
                "give both heads the same tasks",
            )
        return self.classes.spec(teacher, student)

    def matched(self, teacher: Any) -> Any:
        """Return a value of the teacher's tap as `distance` gets it; see `match_classes`."""
        return teacher if self.classes is None else self.classes(teacher)

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Make adapters; raises UserError when the two features do not fit this term."""

    def reads(self) -> dict[str, Any] | None:
        """Return what this term needs of the teacher's tap, as JSON; None: all of it.

        A teacher cache stores no more: ``{"maps": [names]}`` of a head's output, or what
        `FeatureTerm` says of its foreground. Called after `build`.
        """
        return None

    def distance(self, student: Any, teacher: Any, context: Context) -> Tensor:
        """Return the unweighted, graph-attached scalar of one batch."""
        raise NotImplementedError

    def sample_weight(self, context: Context) -> Tensor | None:
        """Return the (B,) weights that the teacher gave its samples, or None."""
        return context.sample_weights.get(f"{self.teacher_branch}:{self.teacher_tap}")

    def forward(self, student: Any, teacher: Any, context: Context) -> Tensor:
        """Return the unweighted scalar; always in float32.

        Raises:
            UserError: The teacher weighs its samples, and this term cannot.
        """
        if not self.weighs_samples and self.sample_weight(context) is not None:
            raise UserError(
                "this term has no weights per sample",
                f"term {self.name}",
                "read the ensemble's joint tap, or give its members weights='mean'",
            )
        if self.joined:
            context = context.as_trained(self.student_branch)
        context.taps = in_float32(context.taps)
        with torch.autocast(self.weight.device.type, enabled=False):
            return self.distance(in_float32(student), in_float32(teacher), context)


@TERMS.register_module()
class FeatureTerm(Term):
    """Feature imitation: adapter, mask, loss, masked mean.

    Args:
        name: See `Term`.
        student: See `Term`.
        teacher: See `Term`.
        weight: See `Term`.
        loss: A name of `kd3d.losses.FEATURE_LOSSES`.
        mask: None, or ``dict(type="box" | "gaussian", ...)``; see `kd3d.masks.boxes`.
        adapter: Options of `kd3d.adapters.FeatureAdapter`.
        normalise_teacher: Standardise the teacher per channel over the batch's cells, so that one
            weight suits teachers whose features have other scales.
    """

    mask: Callable[..., Tensor]
    weighs_samples = True

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict[str, Any] = 1.0,
        loss: str = "squared_error",
        mask: dict[str, Any] | None = None,
        adapter: dict[str, Any] | None = None,
        normalise_teacher: bool = False,
    ) -> None:
        super().__init__(name, student, teacher, weight)
        self.loss = feature_loss(loss)
        self.mask_options = dict(mask) if mask else None
        if self.mask_options is not None:
            kind = self.mask_options.pop("type", "")
            if kind not in MASKS:
                raise UserError(f"unknown mask {kind!r}", f"term {name}", did_you_mean(kind, MASKS))
            self.mask, self.mask_type = MASKS[kind], kind
        self.adapter_options, self.normalise_teacher = dict(adapter or {}), normalise_teacher

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Build the adapter between the two specs."""
        self.spec = student
        where = f"term {self.name}"
        if self.mask_options is not None and not student.is_bev:
            raise UserError(f"a box mask needs a BEV map, the student has {student}", where)
        whole = teacher.whole() if isinstance(teacher, ForegroundSpec) else teacher
        self.adapter = FeatureAdapter(student, whole, where=where, **self.adapter_options)
        if isinstance(teacher, ForegroundSpec) and teacher.reads != self.reads():
            raise UserError(
                f"the cache holds the cells of {teacher.reads}, this term reads {self.reads()}",
                where,
                "fill another store with kd3d cache",
            )

    def reads(self) -> dict[str, Any] | None:
        """Return the mask and grid whose cells suffice, where only cells with weight are read."""
        if self.mask_options is None or self.joined or not self.adapter.pointwise:
            return None
        mask = {"type": self.mask_type, **self.mask_options}
        grid = {"shape": list(self.spec.shape or ()), "extent_m": list(self.spec.extent_m or ())}
        return {"mask": mask, **grid, "moments": self.normalise_teacher}

    def foreground(self, teacher: Tensor, context: Context) -> Foreground:
        """Return the cells with weight of the teacher's map (B, C, H, W), on the student's grid."""
        feature, valid = self.adapter.teacher(teacher)
        mask = self._mask(context, valid, feature)
        assert mask is not None
        moments = channel_moments(feature) if self.normalise_teacher else None
        return Foreground.of(feature, mask, moments)

    def distance(self, student: Tensor, teacher: Any, context: Context) -> Tensor:
        """Return masked_mean(loss(adapter(student), resampled teacher), mask)."""
        if isinstance(teacher, Foreground):
            return self._at_cells(student, teacher, context)
        if self.mask_options is not None and self.adapter.pointwise:
            return self._at_cells(student, self.foreground(teacher, context), context)
        teacher, valid = self.adapter.teacher(teacher)
        mask = self._mask(context, valid, student)
        if self.normalise_teacher:
            teacher = standardised(teacher)
        adapted = self.adapter(student)
        if self.spec.layout == "rows":  # (V, C) -> (1, V, C)
            adapted, teacher = adapted[None], teacher[None]
        elif self.spec.layout == "points":  # (B, C, N) -> (B, N, C)
            adapted, teacher = adapted.transpose(1, 2), teacher.transpose(1, 2)
        value = self.loss(adapted, teacher)
        weight = self.sample_weight(context)
        if weight is not None:
            if self.spec.layout == "rows":
                raise UserError("rows have no weights per sample", f"term {self.name}")
            value = value * weight.view(-1, *(1,) * (value.dim() - 1))
        return masked_mean(value, mask)

    def _mask(self, context: Context, valid: Tensor | None, like: Tensor) -> Tensor | None:
        """Return the (B, 1, H, W) weights on the student's grid; None: all cells alike."""
        mask = None
        if self.mask_options is not None:
            boxes = [b.to(like.device) for b in context.boxes]
            mask = self.mask(boxes, self.spec.extent_m, self.spec.shape, **self.mask_options)
        if valid is None:
            return mask
        return valid.expand(len(like), -1, -1, -1) if mask is None else mask * valid

    def _at_cells(self, student: Tensor, teacher: Foreground, context: Context) -> Tensor:
        """Same value, but only cells with weight are adapted and compared."""
        sample, row, column = teacher.cells.unbind(1)
        rows, weight = teacher.rows.float(), teacher.weight
        if self.normalise_teacher:
            assert teacher.moments is not None
            cells = student[0, 0].numel()
            rows = standardise_rows(rows, teacher.moments, cells)
        picked = student[sample, :, row, column]  # (N, C)
        if not len(rows):  # a cell of no weight keeps the graph whole
            picked, weight = student[:1, :, 0, 0], weight.new_zeros(1)
            rows = rows.new_zeros((1, rows.shape[1]))
        value = self.loss(self.adapter.rows(picked)[None], rows[None])  # (1, N)
        of_sample = self.sample_weight(context)
        if of_sample is not None and len(sample):
            value = value * of_sample[sample]
        return masked_mean(value, weight[None])


def beside(tap: str, name: str) -> str:
    """Return the tap `name` of the model or ensemble's member that `tap` belongs to."""
    member, slash, _ = tap.rpartition("/")
    return member + slash + name


def split_tap(text: str, term: str) -> tuple[str, str]:
    """Split ``"student:bev"`` into branch and tap."""
    branch, colon, tap = text.partition(":")
    if not colon or not branch or not tap:
        raise UserError(f"{text!r} is no tap", f"term {term}", "write '<model>:<path or alias>'")
    return branch, tap
