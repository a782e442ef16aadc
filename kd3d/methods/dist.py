"""DIST: correlations between classes and between rows instead of equal scores."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from kd3d.core.card import MethodCard
from kd3d.core.context import Context
from kd3d.core.head_term import HeadTerm, confidence
from kd3d.core.registry import METHODS, TERMS
from kd3d.losses.logit.correlation import pearson_distance

CARD = MethodCard(
    name="dist",
    title="T. Huang, S. You, F. Wang, C. Qian, C. Xu: Knowledge distillation from a stronger "
    "teacher (DIST), on the class scores of detection heads",
    venue="NeurIPS 2022",
    paper="arXiv:2205.10536",
    idea="A much stronger teacher's scores need not be copied: the order of classes in a row and "
    "of rows in a class is enough.",
    equation="L = tau^2 (beta mean_i d(p_i, q_i) + gamma mean_c d(p_c, q_c)), d = 1 - Pearson",
    source=("logit",),
    routes=("image to image",),
    schemes=("offline", "online", "self"),
    algorithm=(),
    needs=("head",),
    heads=("CenterHead", "Anchor3DHead"),
    same=("head", "anchor_grid"),
    status=("parity-tested",),
    differences=(
        "background competes as one more class (logit 0); cells and anchors are the rows, and "
        "count by the larger of both models' scores",
        "the denominator has a lower bound instead of a summand",
        "correlations between rows are those of one process's batch, in both",
        "official_parity=True: all rows alike, classes without background",
    ),
)


@METHODS.register_module()
def dist(
    teacher: str = "teacher",
    weight: float | dict = 1.0,
    temperature: float = 1.0,
    inter: float = 1.0,
    intra: float = 1.0,
    name: str = "dist",
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the term of DIST.

    Args:
        teacher: The teacher's name.
        weight: Number or schedule.
        temperature: tau.
        inter: Weight of the correlation across classes.
        intra: Weight of the correlation across rows.
        name: The term's name.
        official_parity: The authors' rows.
    """
    return [
        dict(
            type="CorrelationTerm",
            name=name,
            student="student:head",
            teacher=f"{teacher}:head",
            weight=weight,
            temperature=temperature,
            inter=inter,
            intra=intra,
            form="classes" if official_parity else "softmax",
            positions="all" if official_parity else "confident",
        )
    ]


@TERMS.register_module()
class CorrelationTerm(HeadTerm):
    """Correlation distance of class scores, both ways; see `dist` and `HeadTerm`."""

    weighs_samples = False  # the correlation between rows knows no samples

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict = 1.0,
        temperature: float = 1.0,
        inter: float = 1.0,
        intra: float = 1.0,
        form: str = "softmax",
        positions: str = "confident",
    ) -> None:
        super().__init__(name, student, teacher, weight, form, positions)
        self.temperature, self.inter, self.intra = temperature, inter, intra

    def distance(self, student: Any, teacher: Any, context: Context) -> Tensor:
        """Return both correlation distances with their weights."""
        ours, theirs = self.logits(student, teacher)
        p, q = ((x / self.temperature).softmax(-1) for x in self.distributions(ours, theirs))
        between_classes = self.reduce(pearson_distance(p, q), ours, theirs, context, None)
        weight = None
        if self.positions == "confident":
            weight = confidence(ours, theirs)[0].flatten()
        between_rows = pearson_distance(p.flatten(0, 1).T, q.flatten(0, 1).T, weight).mean()
        total = self.inter * between_classes + self.intra * between_rows
        return total * self.temperature**2
