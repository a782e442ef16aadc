"""FitNets-style imitation of the bird's-eye-view feature in the foreground."""

from __future__ import annotations

from typing import Any

from kd3d.core.card import MethodCard
from kd3d.core.registry import METHODS

CARD = MethodCard(
    name="fitnets",
    title="A. Romero, N. Ballas, S. Ebrahimi Kahou, A. Chassang, C. Gatta, Y. Bengio: FitNets: "
    "Hints for thin deep nets, on bird's-eye-view maps",
    venue="ICLR 2015",
    paper="arXiv:1412.6550",
    idea="A regressor on the student's BEV map predicts the teacher's BEV map at the objects.",
    equation="L = sum_i m_i |r(s_i) - t_i|^2 / (C sum_i m_i)",
    source=("feature",),
    routes=("image to image",),
    schemes=("offline", "online", "self"),
    algorithm=(),
    needs=("bev", "gt_boxes"),
    status=("parity-tested", "trained-simulated"),
    differences=(
        "only cells under the Gaussians of the ground truth count; the paper uses the whole map",
        "the teacher's map is standardised per channel, so that one weight fits any teacher",
        "the hint is used throughout training, not in a first stage",
        "official_parity=True gives the paper's hint: whole map, raw teacher, 3x3 regressor",
    ),
    zero_when_equal=False,
)


@METHODS.register_module()
def fitnets(
    teacher: str = "teacher",
    weight: float | dict = 1.0,
    tap: str = "bev",
    teacher_tap: str | None = None,
    mask: dict | None = None,
    name: str = "bev",
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the term of BEV imitation.

    Args:
        teacher: The teacher's name.
        weight: Number or schedule.
        tap: The student's tap.
        teacher_tap: The teacher's tap; None: the same.
        mask: Mask config; None: Gaussians of the ground truth.
        name: The term's name.
        official_parity: The paper's hint loss.
    """
    term = dict(
        type="FeatureTerm",
        name=name,
        student=f"student:{tap}",
        teacher=f"{teacher}:{teacher_tap or tap}",
        weight=weight,
        loss="squared_error",
    )
    if official_parity:
        return [term | dict(adapter=dict(projection="always", kernel=3, norm=True))]
    return [
        term
        | dict(
            mask=mask or dict(type="gaussian"),
            adapter=dict(projection="always"),
            normalise_teacher=True,
        )
    ]
