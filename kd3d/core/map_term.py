"""What terms on two whole feature maps share: alignment in metres, channels, the mean."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from kd3d.adapters import FeatureAdapter
from kd3d.core.context import Context
from kd3d.core.spec import FeatureSpec
from kd3d.core.term import Term
from kd3d.errors import UserError
from kd3d.losses.feature.standardise import standardised
from kd3d.losses.reduce import masked_mean


class MapTerm(Term):
    """A term between two maps (bird's eye view or image), which are read whole.

    The teacher is resampled to the student's cells in metres; cells that the teacher does not
    cover are left out.

    Args:
        name: See `Term`.
        student: See `Term`.
        teacher: See `Term`.
        weight: See `Term`.
        adapter: Options of `kd3d.adapters.FeatureAdapter`; without effect on a term of any width.
        normalise_teacher: Standardise the teacher per channel over the batch's cells, so that one
            weight (and one temperature) suits teachers whose features have other scales.
    """

    weighs_samples = True
    any_width = False  # whether the loss compares maps of other numbers of channels as they are

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict[str, Any] = 1.0,
        adapter: dict[str, Any] | None = None,
        normalise_teacher: bool = False,
    ) -> None:
        super().__init__(name, student, teacher, weight)
        self.adapter_options, self.normalise_teacher = dict(adapter or {}), normalise_teacher

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Build the adapter between the two maps."""
        where = f"term {self.name}"
        if student.layout not in ("map", "image"):
            raise UserError(f"the student has {student}", where, "tap a map, such as bev")
        self.spec, options = student, self.adapter_options
        if self.any_width:
            student, options = replace(student, channels=teacher.channels), {}
        self.adapter = FeatureAdapter(student, teacher, where=where, **options)

    def maps(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return both maps on the student's cells, and where the teacher covers them.

        Args:
            student: (B, C_s, H, W).
            teacher: (B, C_t, H', W').

        Returns:
            Student (B, C_t, H, W), or its own C_s for a term of any width; teacher (B, C_t, H, W);
            (1, 1, H, W) weights of 0 or 1, None: all cells are covered.
        """
        teacher, valid = self.adapter.teacher(teacher)
        if self.normalise_teacher:
            teacher = standardised(teacher)
        return self.adapter(student), teacher, valid

    def cells(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Return `maps` as (B, C, N) features of the N covered cells."""
        ours, theirs, valid = self.maps(student, teacher)
        ours, theirs = ours.flatten(2), theirs.flatten(2)
        if valid is None:
            return ours, theirs
        covered = valid.flatten().nonzero().squeeze(1)
        return ours[..., covered], theirs[..., covered]

    def mean(self, value: Tensor, context: Context, mask: Tensor | None = None) -> Tensor:
        """Return the mean of (B, ...) values under the samples' weights and a mask.

        Args:
            value: (B, ...), un-reduced.
            context: The batch.
            mask: As in `masked_mean`; its first axis may be 1.
        """
        weight = self.sample_weight(context)
        if weight is not None:
            value = value * weight.view(-1, *(1,) * (value.dim() - 1))
        if mask is not None:
            mask = mask.expand(len(value), *mask.shape[1:])
        return masked_mean(value, mask)


class BevTerm(MapTerm):
    """A term on two bird's-eye-view maps whose published form reads raw maps.

    Args:
        *sides: See `MapTerm`.
        official_parity: The teacher is not standardised, and the student projected only where the
            numbers of channels differ; else it always is (unless the term takes any width).
        **options: See `MapTerm`.
    """

    def __init__(self, *sides: Any, official_parity: bool = False, **options: Any) -> None:
        if not self.any_width:
            options.setdefault("normalise_teacher", not official_parity)
            projection = "auto" if official_parity else "always"
            options["adapter"] = {"projection": projection} | (options.get("adapter") or {})
        super().__init__(*sides, **options)
        self.official = official_parity

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Build the adapter; refuse a student without a place in metres."""
        super().build(student, teacher)
        if not student.is_bev:
            raise UserError(f"the student has {student}", f"term {self.name}", "tap a BEV map")
