"""Relational distillation: distances and angles between objects."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from kd3d.core.card import MethodCard
from kd3d.core.context import Context
from kd3d.core.object_term import ObjectTerm
from kd3d.core.registry import METHODS, TERMS
from kd3d.losses.similarity.relations import angle_relations, distance_relations
from kd3d.losses.unit import unit_length as scaled

CARD = MethodCard(
    name="rkd",
    title="W. Park, D. Kim, Y. Lu, M. Cho: Relational knowledge distillation",
    venue="CVPR 2019",
    paper="arXiv:1904.05068",
    idea="Distances and angles between the feature vectors of objects follow the teacher's; the "
    "vectors themselves are free.",
    equation="L = l_d / N^2 sum_ij h(d^S_ij / mean d^S, d^T_ij / mean d^T) + l_a / N^3 sum_ijk "
    "h(cos^S_ijk, cos^T_ijk)",
    source=("similarity",),
    routes=("image to image",),
    schemes=("offline", "online", "self"),
    algorithm=("graph",),
    needs=("bev", "gt_boxes"),
    status=("parity-tested",),
    differences=(
        "rows are objects, read from the BEV map at their centres; the paper's are images",
        "at most 64 objects of a batch, since angles need memory of N^3",
        "weight 1 (angles 2) instead of 25 (50)",
        "official_parity=True: the authors' weights",
    ),
)


@METHODS.register_module()
def rkd(
    teacher: str = "teacher",
    weight: float | dict | None = None,
    tap: str = "bev",
    teacher_tap: str | None = None,
    distance: float = 1.0,
    angle: float = 2.0,
    unit_length: bool = False,
    objects: int = 64,
    name: str = "relations",
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the term of relational distillation.

    Args:
        teacher: The teacher's name.
        weight: Number or schedule of the whole; None: 1, the authors' 25.
        tap: The student's tap.
        teacher_tap: The teacher's tap; None: the same.
        distance: Share of the distances.
        angle: Share of the angles.
        unit_length: Scale every row to length 1 first.
        objects: Most objects of a batch.
        name: The term's name.
        official_parity: The authors' weight.
    """
    usual = 25.0 if official_parity else 1.0
    return [
        dict(
            type="RelationTerm",
            name=name,
            student=f"student:{tap}",
            teacher=f"{teacher}:{teacher_tap or tap}",
            weight=usual if weight is None else weight,
            distance=distance,
            angle=angle,
            unit_length=unit_length,
            objects=objects,
        )
    ]


@TERMS.register_module()
class RelationTerm(ObjectTerm):
    """Distances and angles between objects; see `rkd`."""

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict = 1.0,
        distance: float = 1.0,
        angle: float = 2.0,
        unit_length: bool = False,
        objects: int = 64,
    ) -> None:
        super().__init__(name, student, teacher, weight, objects)
        self.shares, self.unit_length = (distance, angle), unit_length

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return the mean over pairs and the mean over triplets, weighted."""
        rows = self.rows(student, teacher, context)
        if self.unit_length:
            rows = (scaled(rows[0], dim=1), scaled(rows[1], dim=1))
        total = student.new_zeros(())
        for share, relation in zip(self.shares, (distance_relations, angle_relations)):
            if share:
                total = total + share * self.relations_mean(relation(*rows), student)
        return total
