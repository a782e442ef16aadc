"""Similarity-preserving distillation: which samples or objects are alike."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from kd3d.core.card import MethodCard
from kd3d.core.context import Context
from kd3d.core.object_term import ObjectTerm
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.spec import FeatureSpec
from kd3d.core.term import Term
from kd3d.errors import UserError
from kd3d.losses.similarity.relations import similarity_preserving

CARD = MethodCard(
    name="sp",
    title="F. Tung, G. Mori: Similarity-preserving knowledge distillation",
    venue="ICCV 2019",
    paper="arXiv:1907.09682",
    idea="What the teacher finds alike, the student shall find alike, whatever its features are.",
    equation="L = 1/N^2 | rownorm(T T') - rownorm(S S') |_F^2",
    source=("similarity",),
    routes=("image to image",),
    schemes=("offline", "online", "self"),
    algorithm=(),
    needs=("bev", "gt_boxes"),
    status=("parity-tested",),
    differences=(
        "rows are the objects of the batch, read at their centres; the paper's are whole samples, "
        "of which a detector's batch has few (one has no relation at all): rows='samples'",
        "weight 10 instead of 3000",
        "official_parity=True: rows are whole samples, weight 3000",
    ),
)


@METHODS.register_module()
def sp(
    teacher: str = "teacher",
    weight: float | dict | None = None,
    tap: str = "bev",
    teacher_tap: str | None = None,
    rows: str | None = None,
    objects: int = 64,
    name: str = "similarity",
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the term of similarity-preserving distillation.

    Args:
        teacher: The teacher's name.
        weight: Number or schedule; None: 10, the authors' 3000.
        tap: The student's tap.
        teacher_tap: The teacher's tap; None: the same.
        rows: ``objects`` or ``samples``; None: objects, the authors' samples.
        objects: Most objects of a batch.
        name: The term's name.
        official_parity: Whole samples and the authors' weight.
    """
    rows = rows or ("samples" if official_parity else "objects")
    if rows not in ("objects", "samples"):
        raise UserError(f"unknown rows {rows!r}", "sp", "objects or samples")
    usual = 3000.0 if official_parity else 10.0
    term = dict(
        name=name,
        student=f"student:{tap}",
        teacher=f"{teacher}:{teacher_tap or tap}",
        weight=usual if weight is None else weight,
    )
    if rows == "samples":
        return [term | dict(type="SampleSimilarityTerm")]
    return [term | dict(type="ObjectSimilarityTerm", objects=objects)]


@TERMS.register_module()
class ObjectSimilarityTerm(ObjectTerm):
    """Similarities between the objects of a batch; see `sp`."""

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return the mean over all pairs."""
        value = similarity_preserving(*self.rows(student, teacher, context))
        return self.relations_mean(value, student)


@TERMS.register_module()
class SampleSimilarityTerm(Term):
    """Similarities between the samples of this process's batch; see `sp`."""

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Refuse what does not have one entry a sample."""
        for spec in (student, teacher):
            if spec.layout not in ("map", "image", "points"):
                raise UserError(f"{spec} has no entry a sample", f"term {self.name}", "tap a map")

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return the mean over all pairs of samples; samples per process are alike in number."""
        return similarity_preserving(student.flatten(1), teacher.flatten(1)).mean()
