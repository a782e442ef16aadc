"""A term on the features inside objects, read at a grid of points in each rotated box."""

from __future__ import annotations

from torch import Tensor

from kd3d.adapters import FeatureAdapter
from kd3d.adapters.objects import box_points, object_rows
from kd3d.core.context import Context
from kd3d.core.object_term import ObjectTerm
from kd3d.core.registry import TERMS
from kd3d.core.spec import FeatureSpec
from kd3d.errors import UserError, did_you_mean
from kd3d.losses import squared_error
from kd3d.losses.similarity.relations import distance_relations, part_affinity


@TERMS.register_module()
class RegionTerm(ObjectTerm):
    """Features at a grid of points in every object, compared in one of three ways.

    Args:
        name: See `ObjectTerm`.
        student: See `ObjectTerm`.
        teacher: See `ObjectTerm`.
        weight: See `ObjectTerm`.
        objects: See `ObjectTerm`; None: 32 for ``gid``, whose memory grows with its square, 256.
        mode: ``rois``: point by point; ``gid``: distances between objects; ``aff``: cosines between
            the points of an object.
        points: Points along each side of a box.
        official_parity: SparseKD's points: stretched by W / (W - 1) from the map's corner; zeros
            are read outside the map.
    """

    MODES = ("rois", "gid", "aff")
    fewest = 1

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict = 0.1,
        objects: int | None = None,
        mode: str = "rois",
        points: int = 7,
        official_parity: bool = False,
    ) -> None:
        usual = 32 if mode == "gid" else 256
        super().__init__(name, student, teacher, weight, usual if objects is None else objects)
        if mode not in self.MODES:
            raise UserError(
                f"unknown mode {mode!r}", f"term {name}", did_you_mean(mode, self.MODES)
            )
        self.mode, self.points, self.official = mode, points, official_parity

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Make the projection of ``rois``."""
        super().build(student, teacher)
        if self.mode == "rois":
            self.adapter = FeatureAdapter(student, teacher, where=f"term {self.name}")

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return the mean over objects."""
        boxes = self.boxes(student, context)
        ours, theirs = (
            self.limited(self._pooled(feature, boxes, spec))
            for feature, spec in zip((student, teacher), self.specs)
        )
        if self.mode == "rois":
            ours, theirs = self.adapter.rows(ours.flatten(0, 1)), theirs.flatten(0, 1)
            value = squared_error(ours[None], theirs[None])
        elif self.mode == "gid":
            value = distance_relations(ours.flatten(1), theirs.flatten(1))
        else:
            value = part_affinity(ours, theirs)
        return self.relations_mean(value, student)

    def _pooled(self, feature: Tensor, boxes: list[Tensor], spec: FeatureSpec) -> Tensor:
        """Return a map's features (N, P * P, C) in the objects."""
        extent, (height, width) = spec.grid
        places = [box_points(one, self.points).flatten(0, 1) for one in boxes]
        if self.official:
            low, size = feature.new_tensor(extent[:2]), feature.new_tensor([width, height])
            places = [low + (place - low) * size / (size - 1) for place in places]
        padding = "zeros" if self.official else "border"
        rows = object_rows(feature, places, extent, padding)
        return rows.reshape(sum(map(len, boxes)), self.points**2, feature.shape[1])
