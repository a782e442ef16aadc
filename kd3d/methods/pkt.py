"""Probabilistic knowledge transfer: who is whose neighbour."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from kd3d.core.card import MethodCard
from kd3d.core.context import Context
from kd3d.core.object_term import ObjectTerm
from kd3d.core.registry import METHODS, TERMS
from kd3d.losses.similarity.relations import probabilistic_transfer

CARD = MethodCard(
    name="pkt",
    title="N. Passalis, A. Tefas: Learning deep representations with probabilistic knowledge "
    "transfer",
    venue="ECCV 2018",
    paper="arXiv:1803.10837",
    idea="The probability that one object is another's neighbour in feature space follows the "
    "teacher's.",
    equation="L = 1/N sum_i sum_{j != i} t_ij log(t_ij / s_ij), x_ij = K(x_i, x_j) / sum_{k != i} "
    "K(x_i, x_k), K = (cos + 1) / 2",
    source=("similarity",),
    routes=("image to image",),
    schemes=("offline", "online", "self"),
    algorithm=(),
    needs=("bev", "gt_boxes"),
    status=("parity-tested",),
    differences=(
        "rows are objects, read from the BEV map at their centres; the paper's are images",
        "a row is not its own neighbour, as in the paper; the authors' code counts it",
        "summed over neighbours and averaged over rows, weight 10; mdistiller averages over both "
        "and weighs by 30000",
        "official_parity=True: the code's neighbours, mean and weight",
    ),
)


@METHODS.register_module()
def pkt(
    teacher: str = "teacher",
    weight: float | dict | None = None,
    tap: str = "bev",
    teacher_tap: str | None = None,
    objects: int = 64,
    name: str = "neighbours",
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the term of probabilistic knowledge transfer.

    Args:
        teacher: The teacher's name.
        weight: Number or schedule; None: 10, mdistiller's 30000.
        tap: The student's tap.
        teacher_tap: The teacher's tap; None: the same.
        objects: Most objects of a batch.
        name: The term's name.
        official_parity: A row is its own neighbour; mean over all pairs; the code's weight.
    """
    usual = 30000.0 if official_parity else 10.0
    return [
        dict(
            type="NeighbourTerm",
            name=name,
            student=f"student:{tap}",
            teacher=f"{teacher}:{teacher_tap or tap}",
            weight=usual if weight is None else weight,
            objects=objects,
            official_parity=official_parity,
        )
    ]


@TERMS.register_module()
class NeighbourTerm(ObjectTerm):
    """Divergence of the probabilities of neighbours; see `pkt`."""

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict = 1.0,
        objects: int = 64,
        official_parity: bool = False,
    ) -> None:
        super().__init__(name, student, teacher, weight, objects)
        self.official = official_parity

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return the mean divergence of a row, or of a pair."""
        value = probabilistic_transfer(*self.rows(student, teacher, context), itself=self.official)
        return self.relations_mean(value if self.official else value.sum(1), student)
