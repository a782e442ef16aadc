"""Neuron selectivity transfer: the distribution of channels."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from kd3d.core.card import MethodCard
from kd3d.core.context import Context
from kd3d.core.map_term import MapTerm
from kd3d.core.registry import METHODS, TERMS
from kd3d.losses.similarity.selectivity import neuron_selectivity

CARD = MethodCard(
    name="nst",
    title="Z. Huang, N. Wang: Like what you like: Knowledge distill via neuron selectivity "
    "transfer",
    venue="arXiv 2017",
    paper="arXiv:1707.01219",
    idea="The student's channels, as patterns over the cells, are distributed like the teacher's; "
    "no channel has a fixed counterpart.",
    equation="L = mean (t_i . t_j)^2 + mean (s_i . s_j)^2 - 2 mean (s_i . t_j)^2, unit channels",
    source=("similarity",),
    routes=("image to image",),
    schemes=("offline", "online", "self"),
    algorithm=(),
    needs=("bev",),
    status=("parity-tested",),
    differences=(
        "maps of other grids are aligned in metres; mdistiller pools the larger one",
        "official_parity=True changes nothing: loss and weight 50 are mdistiller's already",
    ),
)


@METHODS.register_module()
def nst(
    teacher: str = "teacher",
    weight: float | dict = 50.0,
    tap: str = "bev",
    teacher_tap: str | None = None,
    name: str = "selectivity",
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the term of neuron selectivity transfer.

    Args:
        teacher: The teacher's name.
        weight: Number or schedule.
        tap: The student's tap.
        teacher_tap: The teacher's tap; None: the same.
        name: The term's name.
        official_parity: Accepted for uniformity; changes nothing.
    """
    return [
        dict(
            type="SelectivityTerm",
            name=name,
            student=f"student:{tap}",
            teacher=f"{teacher}:{teacher_tap or tap}",
            weight=weight,
        )
    ]


@TERMS.register_module()
class SelectivityTerm(MapTerm):
    """Discrepancy of two sets of channels; see `nst`."""

    any_width = True

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return the mean over samples."""
        return self.mean(neuron_selectivity(*self.cells(student, teacher)), context)
