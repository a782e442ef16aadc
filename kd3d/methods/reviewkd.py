"""ReviewKD: stages joined from deep to shallow, each compared with its hierarchical context."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kd3d.adapters import FeatureAdapter, MetricResample
from kd3d.core.card import MethodCard
from kd3d.core.context import Context
from kd3d.core.map_term import MapTerm
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.spec import FeatureSpec, check_levels, levels_of
from kd3d.errors import UserError
from kd3d.losses.feature.pyramid import hierarchical_error
from kd3d.losses.feature.standardise import standardised

CARD = MethodCard(
    name="reviewkd",
    title="P. Chen, S. Liu, H. Zhao, J. Jia: Distilling knowledge via knowledge review",
    venue="CVPR 2021",
    paper="arXiv:2104.09044",
    idea="What a stage of the student knows is joined by attention with what its deeper stages "
    "know, and follows the teacher's stage, on its own grid and on ever coarser ones.",
    equation="L = sum_j sum_k 2^-k mse(P_k(c_j(z_j)), P_k(t_j)) / sum_k 2^-k, "
    "z_j = a_1 r_j(s_j) + a_2 up(z_(j+1)), (a_1, a_2) = sigma(w_j [r_j(s_j), up(z_(j+1))])",
    source=("feature",),
    routes=("image to image",),
    schemes=("offline", "online", "self"),
    algorithm=("attention",),
    needs=("stages",),
    status=("parity-tested", "formula-tested"),
    differences=(
        "stages of a BEV backbone; the authors' classifiers have a pooled vector as a further, "
        "deepest one, and their detectors the levels of a feature pyramid",
        "a deeper stage is read at the shallower one's cells in metres, bilinearly; the authors "
        "repeat the nearest cell",
        "the teacher's maps are standardised per channel",
        "official_parity=True: raw maps, nearest cells",
    ),
    zero_when_equal=False,
)


@METHODS.register_module()
def reviewkd(
    teacher: str = "teacher",
    weight: float | dict = 1.0,
    tap: str = "stages",
    teacher_tap: str | None = None,
    levels: tuple[int, ...] = (4, 2, 1),
    width: int = 512,
    name: str = "review",
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the term of knowledge review.

    Args:
        teacher: The teacher's name.
        weight: Number or schedule.
        tap: The student's maps, one tap or several joined by commas, the deepest last.
        teacher_tap: The teacher's, as many; None: the same.
        levels: Cells a side of the coarse grids.
        width: Most channels in which stages are joined; the deepest stage's if it has fewer.
        name: The term's name.
        official_parity: Raw maps, nearest cells.
    """
    return [
        dict(
            type="ReviewTerm",
            name=name,
            student=f"student:{tap}",
            teacher=f"{teacher}:{teacher_tap or tap}",
            weight=weight,
            levels=levels,
            width=width,
            nearest=official_parity,
            normalise_teacher=not official_parity,
        )
    ]


class Fusion(nn.Module):
    """Attention-based fusion of a stage with the one below it, ReviewKD, section 3.2, figure 3a.

    Args:
        channels: Of the stage.
        width: Of the joined map.
        out: Of the teacher's stage.
        attention: Whether there is a deeper stage.
    """

    def __init__(self, channels: int, width: int, out: int, attention: bool) -> None:
        super().__init__()
        self.reduce = nn.Sequential(
            nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width)
        )
        self.attend = nn.Conv2d(2 * width, 2, 1) if attention else None
        self.expand = nn.Sequential(
            nn.Conv2d(width, out, 3, padding=1, bias=False), nn.BatchNorm2d(out)
        )

    def forward(self, stage: Tensor, deeper: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return what is compared (B, out, H, W), and the joined map (B, width, H, W).

        Args:
            stage: (B, channels, H, W).
            deeper: The joined map of the next deeper stage, on this one's cells.
        """
        joined = self.reduce(stage)
        if self.attend is not None and deeper is not None:
            share = torch.sigmoid(self.attend(torch.cat([joined, deeper], 1)))
            joined = joined * share[:, :1] + deeper * share[:, 1:]
        return self.expand(joined), joined


@TERMS.register_module()
class ReviewTerm(MapTerm):
    """Hierarchical error of every stage after fusion; see `reviewkd`."""

    adapters: Any
    upward: Any
    any_width = True  # the fusions change the width

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict = 1.0,
        levels: tuple[int, ...] = (4, 2, 1),
        width: int = 512,
        nearest: bool = False,
        normalise_teacher: bool = True,
    ) -> None:
        super().__init__(name, student, teacher, weight, normalise_teacher=normalise_teacher)
        self.levels, self.width, self.nearest = tuple(levels), width, nearest

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Make a fusion a stage, and what brings stages to each other's cells."""
        where = f"term {self.name}"
        check_levels(student, teacher, where)
        stages, theirs = student.each, teacher.each
        if any(spec.layout not in ("map", "image") for spec in stages):
            raise UserError(f"the student has {student}", where, "tap maps, such as stages")
        width = min(self.width, stages[-1].channels)
        self.fusions = nn.ModuleList(
            Fusion(s.channels, width, t.channels, attention=s is not stages[-1])
            for s, t in zip(stages, theirs)
        )
        self.adapters = nn.ModuleList(
            FeatureAdapter(replace(s, channels=t.channels), t, where)
            for s, t in zip(stages, theirs)
        )
        self.upward = nn.ModuleList(
            nn.Identity() if self.nearest or not deep.is_bev else MetricResample(deep, s, where)
            for s, deep in pairwise(stages)
        )

    def distance(
        self, student: Tensor | list[Tensor], teacher: Tensor | list[Tensor], context: Context
    ) -> Tensor:
        """Return the sum over stages of the mean over samples.

        Cells that the teacher does not cover count as equal.
        """
        stages, targets = levels_of(student), levels_of(teacher)
        joined, values = None, []
        for i in reversed(range(len(stages))):
            if joined is not None:
                joined = self._upward(i, joined, stages[i])
            ours, joined = self.fusions[i](stages[i], joined)
            theirs, valid = self.adapters[i].teacher(targets[i])
            if self.normalise_teacher:
                theirs = standardised(theirs)
            if valid is not None:
                ours, theirs = ours * valid, theirs * valid
            values.append(self.mean(hierarchical_error(ours, theirs, self.levels), context))
        return torch.stack(values).sum()

    def _upward(self, stage: int, joined: Tensor, like: Tensor) -> Tensor:
        """Return the next deeper stage's joined map on a stage's cells."""
        joined = self.upward[stage](joined)
        return (
            F.interpolate(joined, like.shape[2:]) if joined.shape[2:] != like.shape[2:] else joined
        )
