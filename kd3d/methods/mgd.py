"""MGD: the teacher's map is generated from a randomly masked student's map."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from kd3d.core.card import MethodCard
from kd3d.core.context import Context
from kd3d.core.map_term import MapTerm
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.spec import FeatureSpec
from kd3d.errors import UserError
from kd3d.losses import squared_error
from kd3d.losses.feature.masked_generation import kept_cells

CARD = MethodCard(
    name="mgd",
    title="Z. Yang, Z. Li, M. Shao, D. Shi, Z. Yuan, C. Yuan: Masked generative distillation",
    venue="ECCV 2022",
    paper="arXiv:2205.01529",
    idea="From the student's map with random cells blanked, two convolutions must generate the "
    "teacher's whole map, so each cell has to know its surroundings.",
    equation="L = 1/(B C H W) | G(M * a(s)) - t |^2, M_i = 1 with probability 1 - lambda",
    source=("feature",),
    routes=("image to image",),
    schemes=("offline", "online", "self"),
    algorithm=(),
    needs=("bev",),
    status=("parity-tested",),
    differences=(
        "averaged over channels and cells, the teacher's map standardised per channel, weight 1; "
        "the authors sum over channels and cells and weigh by 2e-5 (5e-7 for two stages), which "
        "fits one size of map only",
        "official_parity=True: the authors' sum, raw maps and weight",
    ),
    zero_when_equal=False,
)


@METHODS.register_module()
def mgd(
    teacher: str = "teacher",
    weight: float | dict | None = None,
    tap: str = "bev",
    teacher_tap: str | None = None,
    dropped: float = 0.65,
    per_channel: bool = False,
    name: str = "generation",
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the term of MGD.

    Args:
        teacher: The teacher's name.
        weight: Number or schedule; None: 1, the authors' 2e-5.
        tap: The student's tap.
        teacher_tap: The teacher's tap; None: the same.
        dropped: lambda, probability with which a cell is blanked.
        per_channel: Blank channels instead of cells.
        name: The term's name.
        official_parity: The authors' sum and weight.
    """
    usual = 2e-5 if official_parity else 1.0
    return [
        dict(
            type="GenerationTerm",
            name=name,
            student=f"student:{tap}",
            teacher=f"{teacher}:{teacher_tap or tap}",
            weight=usual if weight is None else weight,
            dropped=dropped,
            per_channel=per_channel,
            summed=official_parity,
        )
    ]


@TERMS.register_module()
class GenerationTerm(MapTerm):
    """Error of the map that is generated from a masked one; see `mgd`."""

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict = 1.0,
        dropped: float = 0.65,
        per_channel: bool = False,
        summed: bool = False,
    ) -> None:
        super().__init__(name, student, teacher, weight, normalise_teacher=not summed)
        if not 0 <= dropped < 1:
            raise UserError(f"dropped={dropped}", f"term {name}", "a probability below 1")
        self.dropped, self.per_channel, self.summed = dropped, per_channel, summed

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Make the adapter and the two convolutions of the generator."""
        super().build(student, teacher)
        width = teacher.channels
        self.generator = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return the mean squared error, or its sum over channels and cells for each sample."""
        ours, theirs, valid = self.maps(student, teacher)
        kept = kept_cells(ours, self.dropped, self.per_channel)
        value = squared_error(self.generator(ours * kept), theirs)
        if not self.summed:
            return self.mean(value, context, valid)
        total = value * theirs.shape[1] * (1.0 if valid is None else valid[:, 0])
        return self.mean(total.sum((1, 2)), context)
