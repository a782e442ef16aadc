"""Factor transfer: a paraphrased teacher and a translated student."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from kd3d.core.card import MethodCard
from kd3d.core.context import Context
from kd3d.core.map_term import MapTerm
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.spec import FeatureSpec
from kd3d.errors import UserError
from kd3d.losses import squared_error
from kd3d.losses.feature.factors import factor_error

CARD = MethodCard(
    name="ft",
    title="J. Kim, S. Park, N. Kwak: Paraphrasing complex network: Network compression via factor "
    "transfer",
    venue="NeurIPS 2018",
    paper="arXiv:1802.04977",
    idea="An autoencoder compresses the teacher's map to factors; a translator makes the student's "
    "map agree with them up to scale.",
    equation="L = mean | F(s)/rms - P(t)/rms | + r mean (D(P(t)) - t)^2, P(t) without gradient in "
    "the first part",
    source=("feature",),
    routes=("image to image",),
    schemes=("offline", "online", "self"),
    algorithm=(),
    needs=("bev",),
    status=("parity-tested",),
    differences=(
        "the autoencoder is trained beside the student, on its own reconstruction only; the paper "
        "trains it beforehand",
        "factors have a root mean square of 1 and the teacher's map is standardised per channel; "
        "the paper's have length 1, so its loss shrinks with the size of the map",
        "official_parity=True: factors of length 1, raw maps",
    ),
    zero_when_equal=False,
)


@METHODS.register_module()
def ft(
    teacher: str = "teacher",
    weight: float | dict = 1.0,
    tap: str = "bev",
    teacher_tap: str | None = None,
    rate: float = 0.5,
    reconstruction: float = 1.0,
    name: str = "factors",
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the term of factor transfer.

    Args:
        teacher: The teacher's name.
        weight: Number or schedule.
        tap: The student's tap.
        teacher_tap: The teacher's tap; None: the same.
        rate: Channels of the factors relative to the teacher's.
        reconstruction: Share of the autoencoder's own loss.
        name: The term's name.
        official_parity: Factors of length 1, raw maps.
    """
    return [
        dict(
            type="FactorTerm",
            name=name,
            student=f"student:{tap}",
            teacher=f"{teacher}:{teacher_tap or tap}",
            weight=weight,
            rate=rate,
            reconstruction=reconstruction,
            unit_length=official_parity,
        )
    ]


@TERMS.register_module()
class FactorTerm(MapTerm):
    """Difference of factors, and the paraphraser's reconstruction; see `ft`."""

    any_width = True  # the translator changes the width

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict = 1.0,
        rate: float = 0.5,
        reconstruction: float = 1.0,
        unit_length: bool = False,
    ) -> None:
        super().__init__(name, student, teacher, weight, normalise_teacher=not unit_length)
        if rate <= 0 or reconstruction <= 0:
            raise UserError("rate and reconstruction must be positive", f"term {name}")
        self.rate, self.reconstruction, self.unit_length = rate, reconstruction, unit_length

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Make the paraphraser (encoder, decoder) and the translator, three convolutions each."""
        super().build(student, teacher)
        whole, few = teacher.channels, max(1, round(self.rate * teacher.channels))
        self.encoder = _convolutions(whole, whole, few, few)
        self.decoder = _convolutions(few, few, whole, whole)
        self.translator = _convolutions(student.channels, student.channels, few, few)

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return the mean over cells of the factors' difference and of the reconstruction."""
        ours, theirs, valid = self.maps(student, teacher)
        factors = self.encoder(theirs)
        rebuilt = self.mean(squared_error(self.decoder(factors), theirs), context, valid)
        covered = 1.0 if valid is None else valid
        value = factor_error(self.translator(ours) * covered, factors.detach() * covered)
        transfer = self.mean(value, context, valid)
        if self.unit_length:
            transfer = transfer / factors[0].numel() ** 0.5
        return transfer + self.reconstruction * rebuilt


def _convolutions(*widths: int) -> nn.Sequential:
    """Return 3x3 convolutions of these widths, normalised and with leaky ReLUs between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.LeakyReLU(0.1)]
    return nn.Sequential(*layers[:-2])  # ends with a convolution
