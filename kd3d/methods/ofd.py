"""OFD: imitation before the activation, with a margin."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kd3d.core.card import MethodCard
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.regressed_term import RegressedTerm
from kd3d.losses.feature.activation import (
    negative_margin,
    partial_squared_error,
    unit_deviation,
)

CARD = MethodCard(
    name="ofd",
    title="B. Heo, J. Kim, S. Yun, H. Park, N. Kwak, J. Y. Choi: A comprehensive overhaul of "
    "feature distillation",
    venue="ICCV 2019",
    paper="arXiv:1904.01866",
    idea="What the teacher passes on is imitated; what it holds back need only be held back too, "
    "down to a margin.",
    equation="L = mean d(r(s), max(t, m)), d = 0 where s <= t <= 0, else (s - t)^2, m = E[t | t<0]",
    source=("feature",),
    routes=("image to image",),
    schemes=("offline", "online", "self"),
    algorithm=(),
    needs=("bev",),
    status=("parity-tested",),
    differences=(
        "the margin is measured on the batch; the authors compute it from the batch "
        "normalisation before the tap. A map after a ReLU, as the neck's, has margin 0",
        "averaged over channels and cells of a teacher that is scaled to unit deviation per "
        "channel, weight 1; the authors sum and divide by 1000",
        "official_parity=True: the authors' sum on the raw map",
    ),
    zero_when_equal=False,
)


@METHODS.register_module()
def ofd(
    teacher: str = "teacher",
    weight: float | dict = 1.0,
    tap: str = "bev",
    teacher_tap: str | None = None,
    name: str = "overhaul",
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the term of OFD.

    Args:
        teacher: The teacher's name.
        weight: Number or schedule.
        tap: The student's tap, best before an activation.
        teacher_tap: The teacher's tap; None: the same.
        name: The term's name.
        official_parity: The authors' sum.
    """
    return [
        dict(
            type="OverhaulTerm",
            name=name,
            student=f"student:{tap}",
            teacher=f"{teacher}:{teacher_tap or tap}",
            weight=weight,
            divisor=1000.0 if official_parity else None,
        )
    ]


@TERMS.register_module()
class OverhaulTerm(RegressedTerm):
    """Partial squared error; see `ofd`."""

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the partial squared error against the teacher's map with margin."""
        target = torch.maximum(teacher, negative_margin(teacher))
        if self.divisor is None:  # the sign must stay, so scale without shifting
            target = unit_deviation(target)
        return partial_squared_error(student, target)
