"""Weighted soft labels."""

from __future__ import annotations

from typing import Any

from kd3d.core.card import MethodCard
from kd3d.core.head_term import TargetTerm
from kd3d.core.registry import METHODS, TERMS
from kd3d.losses.logit.target_class import weighted_soft_label

CARD = MethodCard(
    name="wsld",
    title="H. Zhou, L. Song, J. Chen, Y. Zhou, G. Wang, J. Yuan, Q. Zhang: Rethinking soft labels "
    "for knowledge distillation: A bias-variance tradeoff perspective (WSLD), on the class scores "
    "of detection heads",
    venue="ICLR 2021",
    paper="arXiv:2102.00650",
    idea="Soft labels count less where the student already fits its label better than the teacher.",
    equation="L = tau^2 (1 - exp(log p_y / -log q_y)) KL(q^tau || p^tau)",
    source=("logit",),
    routes=("image to image",),
    schemes=("offline", "online", "self"),
    algorithm=(),
    needs=("head", "gt_boxes"),
    heads=("CenterHead", "Anchor3DHead"),
    same=("head", "anchor_grid"),
    status=("parity-tested",),
    differences=(
        "background competes as one more class (logit 0) and is the label away from objects; rows "
        "count by the models' scores; target='teacher' needs no ground truth",
        "a divergence: the value lacks the teacher's entropy, the gradient is the same; "
        "entropy=True gives the authors' value",
        "official_parity=True: rows of objects only, classes without background, weight 2.5",
    ),
)


@METHODS.register_module()
def wsld(
    teacher: str = "teacher",
    weight: float | dict | None = None,
    temperature: float = 2.0,
    target: str = "truth",
    entropy: bool = False,
    name: str = "wsld",
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the term of weighted soft labels.

    Args:
        teacher: The teacher's name.
        weight: Number or schedule; None: 1, the authors 2.5.
        temperature: tau.
        target: ``truth`` or ``teacher``; see `TargetTerm`.
        entropy: Keep the teacher's entropy in the value, as the authors do.
        name: The term's name.
        official_parity: The authors' rows and weight.
    """
    return [
        dict(
            type="WeightedSoftLabelTerm",
            name=name,
            student="student:head",
            teacher=f"{teacher}:head",
            weight=(2.5 if official_parity else 1.0) if weight is None else weight,
            temperature=temperature,
            entropy=entropy,
            target=target,
            form="classes" if official_parity else "softmax",
            positions="truth" if official_parity else "confident",
        )
    ]


@TERMS.register_module()
class WeightedSoftLabelTerm(TargetTerm):
    """`weighted_soft_label` of class rows; see `wsld` and `TargetTerm`."""

    loss = staticmethod(weighted_soft_label)
