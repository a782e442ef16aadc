"""The cells of a bird's-eye-view volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kd3d.core.spec import Extent
from kd3d.errors import UserError

Bounds = Sequence[float]


@dataclass(frozen=True)
class BEVGrid:
    """Cells along x, y and z; a map of it is (..., Y, X), rows along y, columns along x.

    Attributes:
        low: Lower corner of the volume in metres, (x, y, z).
        step: Size of a cell in metres.
        count: Number of cells along x, y and z.
    """

    low: tuple[float, float, float]
    step: tuple[float, float, float]
    count: tuple[int, int, int]

    @classmethod
    def of(cls, x: Bounds, y: Bounds, z: Bounds, where: str = "view_transform") -> BEVGrid:
        """Return the grid of bounds [low, high, step] in metres, one a direction.

        Raises:
            UserError: Bounds that are no whole number of cells.
        """
        low, step, count = [], [], []
        for name, bounds in zip("xyz", (x, y, z)):
            cells = count_steps(bounds, f"{where}.{name}")
            low.append(float(bounds[0]))
            step.append(float(bounds[2]))
            count.append(cells)
        return cls(_three(low), _three(step), _three(count))

    @property
    def extent_m(self) -> Extent:
        """(x_min, y_min, x_max, y_max) of the map."""
        high = [low + step * n for low, step, n in zip(self.low, self.step, self.count)]
        return self.low[0], self.low[1], high[0], high[1]

    @property
    def shape(self) -> tuple[int, int]:
        """(Y, X) of the map."""
        return self.count[1], self.count[0]

    def cells(self, points: Tensor, official_parity: bool = False) -> Tensor:
        """Return the index of each point's cell in a batch of volumes; -1 outside.

        Args:
            points: (B, ..., 3) in metres, in the grid's frame.
            official_parity: Round towards zero, as the published lift-splat code does: what lies
                up to one cell below the lower bounds is then counted to the first cells.

        Returns:
            (B, ...) int64: ((b Z + z) Y + y) X + x.
        """
        low, step = points.new_tensor(self.low), points.new_tensor(self.step)
        place = (points - low) / step
        place = (place.trunc() if official_parity else place.floor()).long()
        inside = ((place >= 0) & (place < place.new_tensor(self.count))).all(-1)
        x, y, z = place.unbind(-1)
        columns, rows, layers = self.count
        sample = torch.arange(len(points), device=points.device)
        sample = sample.view(-1, *[1] * (x.dim() - 1))
        index = ((sample * layers + z) * rows + y) * columns + x
        return torch.where(inside, index, -1)

    def maps(self, sums: Tensor, samples: int) -> Tensor:
        """Return pooled rows (B Z Y X, C) as maps (B, Z C, Y, X); channel z C + c is layer z's."""
        columns, rows, layers = self.count
        volume = sums.view(samples, layers, rows, columns, -1)
        return volume.permute(0, 1, 4, 2, 3).reshape(samples, -1, rows, columns)


def count_steps(bounds: Bounds, where: str) -> int:
    """Return how many steps [low, high, step] has.

    Raises:
        UserError: No whole number, or none.
    """
    low, high, step = bounds
    count = round((high - low) / step) if step > 0 else 0
    if count < 1 or abs(low + count * step - high) > 1e-3 * step:
        raise UserError(
            f"{list(bounds)} is no whole number of steps", where, "give [low, high, step]"
        )
    return count


def _three(values: list) -> tuple:
    return values[0], values[1], values[2]
