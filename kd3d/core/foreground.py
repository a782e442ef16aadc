"""The part of a teacher's map that a masked term reads: cells with weight, as sparse rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from kd3d.core.spec import FeatureSpec


@dataclass
class Foreground:
    """Rows of a map at the cells with weight, on the student's grid.

    Attributes:
        cells: (N, 3) int64: sample, row (along y), column (along x).
        weight: (N,) positive mask values.
        rows: (N, C) the teacher's features there.
        moments: Each sample's mean and variance per channel over the whole map, (B, C) each, where
            the term standardises the teacher; else None.
    """

    cells: Tensor
    weight: Tensor
    rows: Tensor
    moments: tuple[Tensor, Tensor] | None = None

    @classmethod
    def of(cls, feature: Tensor, mask: Tensor, moments: tuple[Tensor, Tensor] | None) -> Foreground:
        """Take the cells of a (B, C, H, W) map where a (B, 1, H, W) mask is positive."""
        cells = (mask[:, 0] > 0).nonzero()
        sample, row, column = cells.unbind(1)
        return cls(cells, mask[sample, 0, row, column], feature[sample, :, row, column], moments)


@dataclass(frozen=True)
class ForegroundSpec(FeatureSpec):
    """Spec of a stored `Foreground`: layout ``"foreground"`` on the teacher's own grid.

    Attributes:
        reads: What the term read for which it was stored; see `kd3d.core.term.Term.reads`.
    """

    reads: dict[str, Any] = field(default_factory=dict)

    def whole(self) -> FeatureSpec:
        """Return the spec of the teacher's whole map."""
        return FeatureSpec(self.channels, "map", self.shape, self.extent_m)
