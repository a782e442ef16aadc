"""A term: one sentence of a method, from two taps to one number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from kd3d.adapters import FeatureAdapter
from kd3d.core.context import Context
from kd3d.core.registry import TERMS
from kd3d.core.schedules import build_schedule
from kd3d.core.spec import FeatureSpec
from kd3d.errors import UserError, did_you_mean
from kd3d.losses import feature_loss, masked_mean
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
    """

    weight: Tensor

    def __init__(
        self, name: str, student: str, teacher: str, weight: float | dict[str, Any] = 1.0
    ) -> None:
        super().__init__()
        if "loss" in name or "." in name:
            raise UserError("a term's name holds no dot and not the word 'loss'", f"term {name}")
        self.name = name
        self.student_branch, self.student_tap = split_tap(student, name)
        self.teacher_branch, self.teacher_tap = split_tap(teacher, name)
        self.schedule = build_schedule(weight)
        self.register_buffer("weight", torch.tensor(self.schedule(0.0)), persistent=False)

    def set_progress(self, progress: float) -> None:
        """Move the weight along its schedule."""
        self.weight.fill_(self.schedule(progress))

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Make adapters; raises UserError when the two features do not fit this term."""

    def distance(self, student: Any, teacher: Any, context: Context) -> Tensor:
        """Return the unweighted, graph-attached scalar of one batch."""
        raise NotImplementedError

    def forward(self, student: Any, teacher: Any, context: Context) -> Tensor:
        """Return the unweighted scalar; always in float32."""
        with torch.autocast(self.weight.device.type, enabled=False):
            return self.distance(_as_float(student), _as_float(teacher), context)


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
            self.mask = MASKS[kind]
        self.adapter_options, self.normalise_teacher = dict(adapter or {}), normalise_teacher

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Build the adapter between the two specs."""
        self.spec = student
        if self.mask_options is not None and not student.is_bev:
            raise UserError(
                f"a box mask needs a BEV map, the student has {student}", f"term {self.name}"
            )
        self.adapter = FeatureAdapter(
            student, teacher, where=f"term {self.name}", **self.adapter_options
        )

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return masked_mean(loss(adapter(student), resampled teacher), mask)."""
        mask = None
        if self.mask_options is not None:
            shape, extent = tuple(student.shape[-2:]), self.spec.extent_m
            boxes = [b.to(student.device) for b in context.boxes]
            mask = self.mask(boxes, extent, shape, **self.mask_options)  # (B, 1, H, W)
        teacher, valid = self.adapter.teacher(teacher)
        if self.normalise_teacher:
            teacher = standardised(teacher)
        if valid is not None:
            mask = valid.expand(len(student), -1, -1, -1) if mask is None else mask * valid
        if mask is not None and self.adapter.pointwise:
            return self._at_masked_cells(student, teacher, mask)
        adapted = self.adapter(student)
        if self.spec.layout == "rows":  # (V, C) -> (1, V, C)
            adapted, teacher = adapted[None], teacher[None]
        elif self.spec.layout == "points":  # (B, C, N) -> (B, N, C)
            adapted, teacher = adapted.transpose(1, 2), teacher.transpose(1, 2)
        return masked_mean(self.loss(adapted, teacher), mask)

    def _at_masked_cells(self, student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
        """Same value, but only cells with weight are adapted and compared."""
        sample, row, column = (mask[:, 0] > 0).nonzero(as_tuple=True)
        rows_s = student[sample, :, row, column]  # (N, C)
        rows_t = teacher[sample, :, row, column]
        if not len(rows_s):
            return masked_mean(
                self.loss(self.adapter(student[:, :, :1, :1]), teacher[:, :, :1, :1]),
                mask[:, :, :1, :1],
            )
        adapted = self.adapter(rows_s[:, :, None, None])[:, :, 0, 0]
        value = self.loss(adapted[None], rows_t[None])  # (1, N)
        return masked_mean(value, mask[sample, 0, row, column][None])


def standardised(feature: Tensor, eps: float = 1e-5) -> Tensor:
    """Return (B, C, H, W) or (B, N, C) features with zero mean and unit variance per channel."""
    axes = (0, 2, 3) if feature.dim() == 4 else (0, 1)
    mean = feature.mean(axes, keepdim=True)
    variance = feature.var(axes, keepdim=True, unbiased=False)
    return (feature - mean) * (variance + eps).rsqrt()


def split_tap(text: str, term: str) -> tuple[str, str]:
    """Split ``"student:bev"`` into branch and tap."""
    branch, colon, tap = text.partition(":")
    if not colon or not branch or not tap:
        raise UserError(f"{text!r} is no tap", f"term {term}", "write '<model>:<path or alias>'")
    return branch, tap


def _as_float(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, dict):
        return {key: _as_float(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_float(item) for item in value]
    return value
