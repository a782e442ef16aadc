"""Soft labels with a temperature, on the class scores of detection heads."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from kd3d.core.card import MethodCard
from kd3d.core.context import Context
from kd3d.core.head_term import HeadTerm
from kd3d.core.registry import METHODS, TERMS
from kd3d.losses.logit.soft_labels import sigmoid_kl, softmax_kl

CARD = MethodCard(
    name="kd",
    title="G. Hinton, O. Vinyals, J. Dean: Distilling the knowledge in a neural network, on the "
    "class scores of detection heads",
    venue="NIPS 2014 workshop",
    paper="arXiv:1503.02531",
    idea="The student's class scores follow the teacher's, both softened by a temperature, so that "
    "small scores count as well.",
    equation="L = tau^2 sum_i w_i KL(q_i^tau || p_i^tau) / sum_i max_c sigma(t_ic), "
    "w_i = max_c max(sigma(t_ic), sigma(s_ic))",
    source=("logit",),
    routes=("image to image",),
    schemes=("offline", "online", "self"),
    algorithm=(),
    needs=("head",),
    heads=("CenterHead", "Anchor3DHead"),
    same=("head", "anchor_grid"),
    status=("parity-tested",),
    differences=(
        "classes are yes or no each (sigmoid heads), instead of one softmax; form='softmax' lets "
        "them compete with each other and a background of logit 0",
        "cells and anchors count by the larger of both models' scores, not alike: nearly all are "
        "background",
        "temperature 2 instead of 4: four would flatten scores of rare objects",
        "official_parity=True: softmax over the classes, all rows alike, temperature 4, weight 0.9",
    ),
)


@METHODS.register_module()
def kd(
    teacher: str = "teacher",
    weight: float | dict | None = None,
    temperature: float | None = None,
    form: str | None = None,
    positions: str | None = None,
    name: str = "kd",
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the term of soft labels.

    Args:
        teacher: The teacher's name.
        weight: Number or schedule; None: 1, the authors' code 0.9.
        temperature: tau; None: 2, the authors' code 4.
        form: ``sigmoid`` (default), ``softmax`` or ``classes``; see `HeadTerm`.
        positions: ``confident`` (default), ``all`` or ``truth``; see `HeadTerm`.
        name: The term's name.
        official_parity: Other defaults for what is None, see the card.
    """
    usual = (0.9, 4.0, "classes", "all") if official_parity else (1.0, 2.0, "sigmoid", "confident")
    return [
        dict(
            type="SoftLabelTerm",
            name=name,
            student="student:head",
            teacher=f"{teacher}:head",
            weight=usual[0] if weight is None else weight,
            temperature=temperature or usual[1],
            form=form or usual[2],
            positions=positions or usual[3],
        )
    ]


@TERMS.register_module()
class SoftLabelTerm(HeadTerm):
    """Divergence of softened class scores; see `kd` and `HeadTerm`."""

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict = 1.0,
        temperature: float = 2.0,
        form: str = "sigmoid",
        positions: str = "confident",
    ) -> None:
        super().__init__(name, student, teacher, weight, form, positions)
        self.temperature = temperature

    def distance(self, student: Any, teacher: Any, context: Context) -> Tensor:
        """Return the mean divergence, summed over classes, of the rows that count."""
        ours, theirs = self.logits(student, teacher)
        if self.form == "sigmoid":
            value = sigmoid_kl(ours, theirs, self.temperature).sum(-1)
        else:
            value = softmax_kl(*self.distributions(ours, theirs), self.temperature)
        return self.reduce(value, ours, theirs, context, None)
