"""Attention transfer: where the channels' energy lies."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from kd3d.core.card import MethodCard
from kd3d.core.context import Context
from kd3d.core.map_term import MapTerm
from kd3d.core.registry import METHODS, TERMS
from kd3d.losses.feature.attention import attention_transfer

CARD = MethodCard(
    name="at",
    title="S. Zagoruyko, N. Komodakis: Paying more attention to attention: Improving the "
    "performance of convolutional neural networks via attention transfer",
    venue="ICLR 2017",
    paper="arXiv:1612.03928",
    idea="The map of the student's energy over the cells follows the teacher's, whatever the "
    "channels are.",
    equation="L = (1/B) sum_b | Q^S_b / |Q^S_b| - Q^T_b / |Q^T_b| |^2, Q = mean_c f_c^2",
    source=("feature",),
    routes=("image to image",),
    schemes=("offline", "online", "self"),
    algorithm=("attention",),
    needs=("bev",),
    status=("parity-tested",),
    differences=(
        "summed over the cells, so that one weight suits every map size; the authors average over "
        "the cells and weigh by 1000",
        "one stage, the neck's map, where the paper takes several: pass tap= and one method a "
        "stage",
        "maps of other grids are aligned in metres; the authors pool the larger one",
        "official_parity=True: mean over the cells, weight 1000",
    ),
)


@METHODS.register_module()
def at(
    teacher: str = "teacher",
    weight: float | dict | None = None,
    tap: str = "bev",
    teacher_tap: str | None = None,
    power: float = 2.0,
    name: str = "attention",
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the term of attention transfer.

    Args:
        teacher: The teacher's name.
        weight: Number or schedule; None: 1, the authors' 1000.
        tap: The student's tap.
        teacher_tap: The teacher's tap; None: the same.
        power: p of the attention map.
        name: The term's name.
        official_parity: The authors' mean and weight.
    """
    usual = 1000.0 if official_parity else 1.0
    return [
        dict(
            type="AttentionTerm",
            name=name,
            student=f"student:{tap}",
            teacher=f"{teacher}:{teacher_tap or tap}",
            weight=usual if weight is None else weight,
            power=power,
            per_cell=official_parity,
        )
    ]


@TERMS.register_module()
class AttentionTerm(MapTerm):
    """Distance of two attention maps; see `at`."""

    any_width = True

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict = 1.0,
        power: float = 2.0,
        per_cell: bool = False,
    ) -> None:
        super().__init__(name, student, teacher, weight)
        self.power, self.per_cell = power, per_cell

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return the mean over samples of the sum (or mean) over cells."""
        value = attention_transfer(*self.cells(student, teacher), self.power)
        return self.mean(value.mean(1) if self.per_cell else value.sum(1), context)
