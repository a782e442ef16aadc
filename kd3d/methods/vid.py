"""Variational information distillation of the bird's-eye-view feature."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kd3d.adapters import FeatureAdapter
from kd3d.core.card import MethodCard
from kd3d.core.context import Context
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.spec import FeatureSpec
from kd3d.core.term import Term
from kd3d.errors import UserError
from kd3d.losses.feature.standardise import standardised
from kd3d.losses.feature.variational import gaussian_nll
from kd3d.losses.reduce import masked_mean

CARD = MethodCard(
    name="vid",
    title="S. Ahn, S. X. Hu, A. Damianou, N. D. Lawrence, Z. Dai: Variational information "
    "distillation for knowledge transfer, on bird's-eye-view maps",
    venue="CVPR 2019",
    paper="arXiv:1904.05835",
    idea="The student predicts the teacher's feature as a Gaussian with a learned variance per "
    "channel, so that channels it cannot predict cost less.",
    equation="L = mean_i 1/2C sum_c ((t_ic - mu_c(s_i))^2 / var_c + log var_c)",
    source=("feature",),
    routes=("image to image",),
    schemes=("offline", "online", "self"),
    algorithm=(),
    needs=("bev",),
    status=("formula-tested",),
    differences=(
        "one 1x1 projection predicts the mean instead of three with ReLU",
        "the teacher's map is standardised per channel and the variance starts at 1; in mdistiller "
        "the map is raw, the variance starts at 5 and its optimizer never sees it",
        "the value may become negative",
        "no numbers of the authors' code: official_parity=True only leaves the map raw",
    ),
    zero_when_equal=False,
)


@METHODS.register_module()
def vid(
    teacher: str = "teacher",
    weight: float | dict = 1.0,
    tap: str = "bev",
    variance: float = 1.0,
    name: str = "vid",
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the term of variational information distillation.

    Args:
        teacher: The teacher's name.
        weight: Number or schedule.
        tap: Tap of both models, a BEV map.
        variance: Where the variances start.
        name: The term's name.
        official_parity: The teacher's raw map.
    """
    return [
        dict(
            type="VariationalTerm",
            name=name,
            student=f"student:{tap}",
            teacher=f"{teacher}:{tap}",
            weight=weight,
            variance=variance,
            normalise_teacher=not official_parity,
        )
    ]


@TERMS.register_module()
class VariationalTerm(Term):
    """Gaussian likelihood of the teacher's map; see `vid`.

    Args:
        name: See `Term`.
        student: See `Term`.
        teacher: See `Term`.
        weight: See `Term`.
        variance: Where the variances start.
        normalise_teacher: Standardise the teacher per channel.
        eps: Lower bound of a variance.
    """

    weighs_samples = True

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict = 1.0,
        variance: float = 1.0,
        normalise_teacher: bool = True,
        eps: float = 1e-5,
    ) -> None:
        super().__init__(name, student, teacher, weight)
        if variance <= eps:
            raise UserError(f"variance {variance} is not above {eps}", f"term {name}")
        self.start, self.eps = math.log(math.expm1(variance - eps)), eps
        self.normalise_teacher = normalise_teacher

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Make the prediction of the mean, and the variances before their softplus."""
        if student.layout != "map":
            raise UserError(f"vid needs a map, the student has {student}", f"term {self.name}")
        self.adapter = FeatureAdapter(student, teacher, f"term {self.name}", projection="always")
        start = torch.full((teacher.channels,), self.start)
        self.raw_variance = nn.Parameter(start)

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return the mean negative log-likelihood over the cells that the teacher covers."""
        teacher, valid = self.adapter.teacher(teacher)
        if self.normalise_teacher:
            teacher = standardised(teacher)
        variance = F.softplus(self.raw_variance) + self.eps
        value = gaussian_nll(self.adapter(student), teacher, variance)
        of_sample = self.sample_weight(context)
        if of_sample is not None:
            value = value * of_sample.view(-1, 1, 1)
        return masked_mean(value, None if valid is None else valid.expand(len(value), -1, -1, -1))
