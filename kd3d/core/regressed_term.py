"""What terms share whose student passes a trained regressor before any activation."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from kd3d.core.context import Context
from kd3d.core.map_term import MapTerm
from kd3d.core.spec import FeatureSpec


class RegressedTerm(MapTerm):
    """A term on (B, H, W) values between a teacher's map and a regressed student's.

    The regressor is a 1x1 convolution and a batch normalisation, without activation.

    Args:
        name: See `Term`.
        student: See `Term`.
        teacher: See `Term`.
        weight: See `Term`.
        normalise_teacher: See `MapTerm`.
        divisor: None: mean over cells. A number: sum over channels and cells, divided by samples
            and by it.
    """

    any_width = True  # the regressor takes the adapter's place

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict[str, Any] = 1.0,
        normalise_teacher: bool = False,
        divisor: float | None = None,
    ) -> None:
        super().__init__(name, student, teacher, weight, normalise_teacher=normalise_teacher)
        self.divisor = divisor

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Make the regressor."""
        super().build(student, teacher)
        width = teacher.channels
        self.regressor = nn.Sequential(
            nn.Conv2d(student.channels, width, 1, bias=False), nn.BatchNorm2d(width)
        )

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return (B, H, W) values, averaged over channels."""
        raise NotImplementedError

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return the mean over cells, or the sum over channels and cells over the divisor."""
        ours, theirs, valid = self.maps(student, teacher)
        value = self.compare(self.regressor(ours), theirs)
        if self.divisor is None:
            return self.mean(value, context, valid)
        covered = value if valid is None else value * valid[:, 0]
        return self.mean(covered.sum((1, 2)) * theirs.shape[1] / self.divisor, context)
