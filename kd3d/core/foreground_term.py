"""A term on two whole maps where the ground truth has objects and the teacher is sure."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from kd3d.adapters import MetricResample
from kd3d.core.context import Context
from kd3d.core.map_term import MapTerm
from kd3d.core.registry import TERMS
from kd3d.core.spec import FeatureSpec
from kd3d.core.term import beside
from kd3d.errors import UserError, did_you_mean
from kd3d.losses import squared_error
from kd3d.losses.feature.attention import activity_error
from kd3d.losses.logit.head_scores import class_scores
from kd3d.masks.boxes import gaussian_mask

FOREGROUNDS = ("soft", "hard")


def check_foreground(foreground: str | None, name: str) -> None:
    """Raise UserError where a term's foreground is neither soft, hard nor None."""
    if foreground not in (None, *FOREGROUNDS):
        hint = "soft, hard or None"
        raise UserError(f"unknown foreground {foreground!r}", f"term {name}", hint)


@TERMS.register_module()
class ForegroundTerm(MapTerm):
    """Features (``raw``) or their mean absolute value (``spatial``) on the teacher's cells.

    Args:
        name: See `MapTerm`.
        student: See `MapTerm`.
        teacher: See `MapTerm`.
        weight: See `MapTerm`.
        mode: ``raw`` or ``spatial``.
        foreground: ``soft``: cells count by the Gaussians of the objects; ``hard``: alike where a
            Gaussian reaches; None: everywhere.
        score: Only cells where the teacher's head scores more; None: all.
        official_parity: Objects outside the map count at its border.
    """

    MODES = ("raw", "spatial")

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict = 0.1,
        mode: str = "raw",
        foreground: str | None = None,
        score: float | None = None,
        official_parity: bool = False,
    ) -> None:
        super().__init__(name, student, teacher, weight)
        if mode not in self.MODES:
            raise UserError(
                f"unknown mode {mode!r}", f"term {name}", did_you_mean(mode, self.MODES)
            )
        check_foreground(foreground, name)
        self.any_width, self.foreground, self.score = mode == "spatial", foreground, score
        self.border = official_parity
        self.scorer = f"{self.teacher_branch}:{beside(self.teacher_tap, 'head')}"

    def further(self) -> tuple[str, ...]:
        """Return the teacher's head, where its scores count."""
        return () if self.score is None else (self.scorer,)

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Make the projection, and the way of the student to the teacher's cells."""
        where = f"term {self.name}"
        super().build(student, replace(teacher, shape=student.shape, extent_m=student.extent_m))
        self.resample = None
        if not student.same_grid(teacher):
            self.resample = MetricResample(student, teacher, where)
        head = self.further_specs.get(self.scorer)
        if head is not None and not head.same_grid(teacher):
            raise UserError(f"{teacher} and the teacher's {head} have other grids", where)
        self.spec, self.head = teacher, head

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return the mean under the foreground and the teacher's scores."""
        ours, theirs, _ = self.maps(student, teacher)
        weight = torch.ones_like(theirs[:, :1])
        if self.resample is not None:
            ours, weight = self.resample(ours), weight * self.resample.valid
        value = (activity_error if self.any_width else squared_error)(ours, theirs)
        if self.foreground is not None:
            near = self._gaussians(context, theirs.device)
            weight = weight * ((near > 0) if self.foreground == "hard" else near)
        if self.head is not None and self.score is not None:
            scores = class_scores(context.taps[self.scorer], self.head.layout)
            weight = weight * (scores.amax(1, keepdim=True) > self.score)
        return self.mean(value, context, weight)

    def _gaussians(self, context: Context, device: torch.device) -> Tensor:
        """Return the (B, 1, H, W) Gaussians of the objects on the teacher's cells."""
        boxes = [one.to(device) for one in context.boxes]
        return gaussian_mask(boxes, *self.spec.grid, border=self.border)
