"""Localisation distillation: box parameters as distributions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kd3d.core.card import MethodCard
from kd3d.core.context import Context
from kd3d.core.head_term import HeadTerm
from kd3d.core.registry import METHODS, TERMS
from kd3d.losses.box.distribution import box_distribution_kl, yaw_as_vector
from kd3d.losses.logit.class_rows import box_rows
from kd3d.losses.reduce import masked_mean

CARD = MethodCard(
    name="ld",
    title="Z. Zheng, R. Ye, P. Wang, D. Ren, W. Zuo, Q. Hou, M.-M. Cheng: Localization "
    "distillation for dense object detection (LD), on 3D box parameters",
    venue="CVPR 2022",
    paper="arXiv:2102.12252",
    idea="Every box parameter becomes a distribution over bins, and the student's follows the "
    "teacher's by their divergence, where the teacher sees an object.",
    equation="L = sum_i q_i mean_d tau^2 KL(P^t_id || P^s_id) / sum_i q_i, "
    "P_id = softmax_k(-(b_id - c_k)^2 / 2 sigma^2 tau)",
    source=("logit",),
    routes=("image to image",),
    schemes=("offline", "online", "self"),
    algorithm=(),
    needs=("head",),
    heads=("CenterHead", "Anchor3DHead"),
    status=("parity-tested",),
    differences=(
        "3D heads regress numbers: their distributions are discretised Gaussians of fixed width on "
        "bins around the teacher's value, so the teacher's own uncertainty is not in them",
        "parameters of the head's box code (centre, size, yaw vector), not four edges in the image",
        "weights are the teacher's scores (authors: the student's, at ground-truth positions, and "
        "a valuable region by box overlap); no object needed",
        "temperature 1, sum over bins (authors: 10, mean over the 17 bins)",
        "official_parity=True: the student's detached scores at rows of objects, temperature 10, "
        "mean over bins; still on the Gaussians",
    ),
)


@METHODS.register_module()
def ld(
    teacher: str = "teacher",
    weight: float | dict = 0.25,
    temperature: float | None = None,
    bins: int = 17,
    reach: float = 1.0,
    spread: float = 0.25,
    name: str = "ld",
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the term of localisation distillation.

    Args:
        teacher: The teacher's name.
        weight: Number or schedule.
        temperature: tau; None: 1, the authors 10.
        bins: Number of bins.
        reach: Largest difference with a bin, in units of the head's box code.
        spread: Standard deviation of the Gaussians, same unit.
        name: The term's name.
        official_parity: The authors' weights and normalisers.
    """
    return [
        dict(
            type="BoxDistributionTerm",
            name=name,
            student="student:head",
            teacher=f"{teacher}:head",
            weight=weight,
            temperature=temperature or (10.0 if official_parity else 1.0),
            bins=bins,
            reach=reach,
            spread=spread,
            official_parity=official_parity,
        )
    ]


@TERMS.register_module()
class BoxDistributionTerm(HeadTerm):
    """Divergence of box parameters; see `ld`."""

    boxes = True

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict = 1.0,
        official_parity: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(name, student, teacher, weight)
        self.official = official_parity
        self.options = options | dict(mean_bins=official_parity)

    def distance(self, student: Any, teacher: Any, context: Context) -> Tensor:
        """Return the score-weighted mean divergence."""
        ours, theirs = self.logits(student, teacher)
        code_s, code_t = (box_rows(head, self.layout) for head in (student, teacher))
        if self.layout == "anchor_head":
            code_s, code_t = yaw_as_vector(code_s), yaw_as_vector(code_t)
        value = box_distribution_kl(code_s, code_t, **self.options)
        repeats = value.shape[1] // ours.shape[1]  # a cell has a box for each task
        score = (ours if self.official else theirs).detach().sigmoid().amax(-1)
        if self.official:
            score = score * (self.targets(ours, context) < ours.shape[-1])
        of_sample = self.sample_weight(context)
        if of_sample is not None:
            value = value * of_sample.view(-1, 1)
        return masked_mean(value, torch.cat([score] * repeats, 1))
