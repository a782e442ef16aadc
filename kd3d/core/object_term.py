"""What terms on relations between objects share: their feature vectors, and the mean."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kd3d.adapters.objects import object_rows
from kd3d.core.context import Context
from kd3d.core.spec import FeatureSpec, levels_of
from kd3d.core.term import Term
from kd3d.errors import UserError
from kd3d.losses.reduce import masked_mean


class ObjectTerm(Term):
    """A term on the feature vectors at the centres of the ground truth's boxes.

    Each model's map is read in its own grid, in metres, so grids and widths may differ. Relations
    are between all objects of this process's batch.

    Args:
        name: See `Term`.
        student: See `Term`; a BEV map.
        teacher: See `Term`; a BEV map.
        weight: See `Term`.
        objects: Most objects of a batch; of more, evenly spaced ones are taken.
    """

    fewest = 2  # objects that a relation needs
    several = False  # whether it takes several maps of each model

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict[str, Any] = 1.0,
        objects: int = 64,
    ) -> None:
        super().__init__(name, student, teacher, weight)
        if objects < self.fewest:
            raise UserError(f"objects={objects}", f"term {name}", f"at least {self.fewest}")
        self.objects = objects

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Refuse what is no BEV map."""
        both = (student, teacher)
        for spec in [one for side in both for one in (side.each if self.several else (side,))]:
            if spec.layout != "map" or not spec.is_bev:
                raise UserError(
                    f"objects are looked up in BEV maps: the student has {student}, the teacher "
                    f"{teacher}",
                    f"term {self.name}",
                    "tap bev",
                )
        self.specs = both

    def rows(
        self, student: Tensor | list[Tensor], teacher: Tensor | list[Tensor], context: Context
    ) -> tuple[Any, Any]:
        """Return the vectors (N, C_s) and (N, C_t) of the objects that lie in all maps.

        Args:
            student: A map (B, C_s, H, W), or several.
            teacher: A map, or several.
            context: The batch.

        Returns:
            Those of the student and of the teacher; of several maps, a list each.
        """
        maps = [one for side in (student, teacher) for one in levels_of(side)]
        specs = [one for spec in self.specs for one in spec.each]
        centres = [boxes[:, :2] for boxes in self.boxes(maps[0], context)]
        found = [
            self.limited(object_rows(m, centres, spec.grid[0])) for m, spec in zip(maps, specs)
        ]
        if isinstance(student, Tensor):
            return found[0], found[1]
        return found[: len(student)], found[len(student) :]

    def limited(self, rows: Tensor) -> Tensor:
        """Return (N, ...) or, of too many, evenly spaced ones."""
        count = len(rows)
        if count <= self.objects:
            return rows
        return rows[torch.arange(self.objects, device=rows.device) * count // self.objects]

    def boxes(self, student: Tensor, context: Context) -> list[Tensor]:
        """Return a sample's (N, 7) boxes whose centres lie in all maps, like the student's map."""
        found = []
        for boxes in context.boxes:
            boxes = boxes.to(student)
            keep = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
            for spec in [one for side in self.specs for one in side.each]:
                extent = spec.grid[0]
                keep &= (boxes[:, :2] >= boxes.new_tensor(extent[:2])).all(1)
                keep &= (boxes[:, :2] <= boxes.new_tensor(extent[2:])).all(1)
            found.append(boxes[keep])
        return found

    def relations_mean(self, value: Tensor, student: Tensor) -> Tensor:
        """Return the mean of relations over all processes.

        Args:
            value: Un-reduced, any shape, possibly without elements.
            student: The tapped map; keeps the graph whole where there is nothing to compare, as
                does the empty value what it was made with.
        """
        if value.numel():
            return masked_mean(value.reshape(1, -1))
        nothing = (student.sum() + value.sum()).reshape(1, 1) * 0.0
        return masked_mean(nothing, torch.zeros_like(nothing))
