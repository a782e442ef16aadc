"""Normalised knowledge distillation."""

from __future__ import annotations

from typing import Any

from kd3d.core.card import MethodCard
from kd3d.core.head_term import TargetTerm
from kd3d.core.registry import METHODS, TERMS
from kd3d.losses.logit.target_class import normalised_kd

CARD = MethodCard(
    name="nkd",
    title="Z. Yang, A. Zeng, Z. Li, T. Zhang, C. Yuan, Y. Li: From knowledge distillation to "
    "self-knowledge distillation: A unified approach with normalized loss and customized soft "
    "labels (NKD), on the class scores of detection heads",
    venue="ICCV 2023",
    paper="arXiv:2303.13005",
    idea="Cross-entropy of the target with the teacher's score as its weight, and the other "
    "classes after normalising both models' scores to the same sum.",
    equation="L = -q_y log p_y - gamma tau^2 sum_{c != y} qhat_c log phat_c",
    source=("logit",),
    routes=("image to image",),
    schemes=("offline", "online", "self"),
    algorithm=(),
    needs=("head", "gt_boxes"),
    heads=("CenterHead", "Anchor3DHead"),
    same=("head", "anchor_grid"),
    status=("parity-tested",),
    differences=(
        "background competes as one more class (logit 0) and is the target away from objects; "
        "rows count by the models' scores; target='teacher' needs no ground truth",
        "the part over the other classes is a divergence: the value lacks the teacher's entropy, "
        "the gradient is the same",
        "official_parity=True: rows of objects only, classes without background, with that entropy",
    ),
    zero_when_equal=False,
)


@METHODS.register_module()
def nkd(
    teacher: str = "teacher",
    weight: float | dict = 1.0,
    temperature: float = 1.0,
    gamma: float = 1.5,
    target: str = "truth",
    name: str = "nkd",
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the term of normalised distillation.

    Args:
        teacher: The teacher's name.
        weight: Number or schedule.
        temperature: tau of the other classes.
        gamma: Weight of the other classes.
        target: ``truth`` or ``teacher``; see `TargetTerm`.
        name: The term's name.
        official_parity: The authors' rows and value.
    """
    return [
        dict(
            type="NormalisedTerm",
            name=name,
            student="student:head",
            teacher=f"{teacher}:head",
            weight=weight,
            temperature=temperature,
            gamma=gamma,
            entropy=official_parity,
            target=target,
            form="classes" if official_parity else "softmax",
            positions="truth" if official_parity else "confident",
        )
    ]


@TERMS.register_module()
class NormalisedTerm(TargetTerm):
    """`normalised_kd` of class rows; see `nkd` and `TargetTerm`."""

    loss = staticmethod(normalised_kd)
