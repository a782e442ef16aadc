"""Decoupled knowledge distillation: the target class apart from the others."""

from __future__ import annotations

from typing import Any

from kd3d.core.card import MethodCard
from kd3d.core.head_term import TargetTerm
from kd3d.core.registry import METHODS, TERMS
from kd3d.losses.logit.target_class import decoupled_kl

CARD = MethodCard(
    name="dkd",
    title="B. Zhao, Q. Cui, R. Song, Y. Qiu, J. Liang: Decoupled knowledge distillation, on the "
    "class scores of detection heads",
    venue="CVPR 2022",
    paper="arXiv:2203.08679",
    idea="How sure the teacher is of the target, and how it ranks the other classes, get weights "
    "of their own.",
    equation="L = tau^2 (alpha KL(b^t || b^s) + beta KL(p^t_others || p^s_others))",
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
        "rows count by the models' scores",
        "the target is the class of the ground truth's Gaussian at the cell; target='teacher' "
        "takes the teacher's most likely class and needs no ground truth",
        "beta 2 and temperature 2 instead of 8 and 4",
        "computed from log-odds: finite where the authors' probability underflows",
        "official_parity=True: rows of objects only, classes without background, the authors' "
        "weights; the warm-up of 20 epochs is a schedule of the weight in both",
    ),
)


@METHODS.register_module()
def dkd(
    teacher: str = "teacher",
    weight: float | dict = 1.0,
    temperature: float | None = None,
    alpha: float = 1.0,
    beta: float | None = None,
    target: str = "truth",
    name: str = "dkd",
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the term of decoupled distillation.

    Args:
        teacher: The teacher's name.
        weight: Number or schedule.
        temperature: tau; None: 2, the authors 4.
        alpha: Weight of the target against the rest.
        beta: Weight of the rest; None: 2, the authors 8.
        target: ``truth`` or ``teacher``; see `TargetTerm`.
        name: The term's name.
        official_parity: The authors' rows and weights.
    """
    return [
        dict(
            type="DecoupledTerm",
            name=name,
            student="student:head",
            teacher=f"{teacher}:head",
            weight=weight,
            temperature=temperature or (4.0 if official_parity else 2.0),
            alpha=alpha,
            beta=(8.0 if official_parity else 2.0) if beta is None else beta,
            target=target,
            form="classes" if official_parity else "softmax",
            positions="truth" if official_parity else "confident",
        )
    ]


@TERMS.register_module()
class DecoupledTerm(TargetTerm):
    """`decoupled_kl` of class rows; see `dkd` and `TargetTerm`."""

    loss = staticmethod(decoupled_kl)
