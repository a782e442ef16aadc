"""AB: which neurons respond, not how strongly."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from kd3d.core.card import MethodCard
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.regressed_term import RegressedTerm
from kd3d.losses.feature.activation import activation_boundaries

CARD = MethodCard(
    name="ab",
    title="B. Heo, M. Lee, S. Yun, J. Y. Choi: Knowledge transfer via distillation of activation "
    "boundaries formed by hidden neurons",
    venue="AAAI 2019",
    paper="arXiv:1811.03233",
    idea="The student's neurons respond where the teacher's do, and are silent elsewhere; how "
    "strongly is left to the student.",
    equation="L = mean max(0, m - sign(t) r(s))^2, sign(0) = -1",
    source=("feature",),
    routes=("image to image",),
    schemes=("offline", "online", "self"),
    algorithm=(),
    needs=("bev",),
    status=("parity-tested",),
    differences=(
        "averaged over channels and cells; the authors sum over both, divide by 1000 and take "
        "three times that",
        "used throughout training; the paper initialises a student with it and goes on without",
        "official_parity=True: the authors' sum",
    ),
    zero_when_equal=False,
)


@METHODS.register_module()
def ab(
    teacher: str = "teacher",
    weight: float | dict = 1.0,
    tap: str = "bev",
    teacher_tap: str | None = None,
    margin: float = 1.0,
    name: str = "boundaries",
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the term of activation boundaries.

    Args:
        teacher: The teacher's name.
        weight: Number or schedule.
        tap: The student's tap.
        teacher_tap: The teacher's tap; None: the same.
        margin: m.
        name: The term's name.
        official_parity: The authors' sum.
    """
    return [
        dict(
            type="BoundaryTerm",
            name=name,
            student=f"student:{tap}",
            teacher=f"{teacher}:{teacher_tap or tap}",
            weight=weight,
            margin=margin,
            divisor=1000.0 / 3 if official_parity else None,
        )
    ]


@TERMS.register_module()
class BoundaryTerm(RegressedTerm):
    """Hinge on the activation; see `ab`."""

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict = 1.0,
        margin: float = 1.0,
        divisor: float | None = None,
    ) -> None:
        super().__init__(name, student, teacher, weight, divisor=divisor)
        self.margin = margin

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the squared hinge."""
        return activation_boundaries(student, teacher, self.margin)
