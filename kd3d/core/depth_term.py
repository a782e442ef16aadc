"""A term between two camera models' distributions over depth."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from kd3d.core.context import Context
from kd3d.core.map_term import MapTerm
from kd3d.core.registry import TERMS
from kd3d.core.spec import FeatureSpec
from kd3d.errors import UserError
from kd3d.losses.logit.soft_labels import softmax_kl


@TERMS.register_module()
class DepthTerm(MapTerm):
    """Divergence of the depth distributions in each cell of the images.

    Both models see the same images and have the same bins and strides.

    Args:
        *sides: See `Term`; taps such as ``depth``, whose values are logits (B N, D, H, W).
        temperature: tau.
        official_parity: Sum over cells instead of the mean.
        **options: See `Term`.
    """

    weighs_samples = False  # a sample has several images

    def __init__(
        self, *sides: Any, temperature: float = 1.0, official_parity: bool = False, **options: Any
    ) -> None:
        options["adapter"] = dict(projection="never")  # bins have no other order
        super().__init__(*sides, **options)
        self.temperature, self.official = temperature, official_parity

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Refuse what is not on the image plane."""
        if student.layout != "image":
            raise UserError(f"the student has {student}", f"term {self.name}", "tap depth")
        super().build(student, teacher)

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return the mean (published: sum) over cells."""
        ours, theirs = (logits.movedim(1, -1) for logits in (student, teacher))
        value = softmax_kl(ours, theirs, self.temperature)  # (B N, H, W)
        return value.sum() if self.official else self.mean(value, context)
