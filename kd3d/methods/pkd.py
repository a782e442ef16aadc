"""PKD: correlation of two maps, channel by channel."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from kd3d.core.card import MethodCard
from kd3d.core.context import Context
from kd3d.core.map_term import MapTerm
from kd3d.core.registry import METHODS, TERMS
from kd3d.losses.feature.pearson import pearson_distance

CARD = MethodCard(
    name="pkd",
    title="W. Cao, Y. Zhang, J. Gao, A. Cheng, K. Cheng, J. Cheng: PKD: General distillation "
    "framework for object detectors via Pearson correlation coefficient",
    venue="NeurIPS 2022",
    paper="arXiv:2207.02039",
    idea="Only how a channel varies over the cells is imitated, not its mean or scale, so teacher "
    "and student may be of any kind.",
    equation="L = 1/(2 B C N) sum (z(s) - z(t))^2 = 1 - mean_c r(s_c, t_c), z = standard score",
    source=("feature",),
    routes=("image to image",),
    schemes=("offline", "online", "self"),
    algorithm=(),
    needs=("bev",),
    status=("parity-tested",),
    differences=(
        "where the widths differ the student passes a 1x1 convolution; the paper needs equal ones",
        "maps of other grids: the teacher is read at the student's cells in metres; the authors "
        "stretch the student to the teacher's size",
        "weight 1 instead of 10",
        "official_parity=True: the authors' stretching and weight",
    ),
)


@METHODS.register_module()
def pkd(
    teacher: str = "teacher",
    weight: float | dict | None = None,
    tap: str = "bev",
    teacher_tap: str | None = None,
    name: str = "correlation",
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the term of PKD.

    Args:
        teacher: The teacher's name.
        weight: Number or schedule; None: 1, the authors' 10.
        tap: The student's tap.
        teacher_tap: The teacher's tap; None: the same.
        name: The term's name.
        official_parity: The authors' stretching of the student and their weight.
    """
    usual = 10.0 if official_parity else 1.0
    return [
        dict(
            type="PearsonTerm",
            name=name,
            student=f"student:{tap}",
            teacher=f"{teacher}:{teacher_tap or tap}",
            weight=usual if weight is None else weight,
            stretch=official_parity,
        )
    ]


@TERMS.register_module()
class PearsonTerm(MapTerm):
    """One minus the mean correlation of the channels; see `pkd`."""

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict = 1.0,
        stretch: bool = False,
    ) -> None:
        super().__init__(name, student, teacher, weight)
        self.stretch = stretch

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return the mean distance over the cells."""
        if not self.stretch:
            return self.mean(pearson_distance(*self.cells(student, teacher)), context)
        ours = self.adapter(student)
        if ours.shape[2:] != teacher.shape[2:]:
            ours = F.interpolate(ours, teacher.shape[2:], mode="bilinear", align_corners=False)
        return self.mean(pearson_distance(ours, teacher), context)
