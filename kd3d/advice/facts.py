"""What is known of a student and a teacher before any training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kd3d.core.compatibility import Offer
from kd3d.core.probe import probe
from kd3d.core.spec import FeatureSpec
from kd3d.core.taps import DECODED, TapSet, aliases
from kd3d.evaluation.efficiency import parameters
from kd3d.inspection.detectors import reads

SMALL_GAP, LARGE_GAP = 2.0, 8.0  # ratios of parameters
SAME, OTHER = "same", "other"


@dataclass(frozen=True)
class Side:
    """One detector.

    Attributes:
        detector: Its type.
        sensors: ``lidar``, ``camera`` or ``lidar+camera``.
        parameters: Their number.
        offer: What it offers to methods.
        taps: Alias -> spec.
    """

    detector: str
    sensors: str
    parameters: int
    offer: Offer
    taps: dict[str, FeatureSpec]

    @classmethod
    def of(cls, model: Any) -> Side:
        """Look at a detector; forward passes on made-up inputs."""
        names = [name for name in aliases(model) if name not in DECODED]
        taps = TapSet(model, names)
        probe(model, taps)
        known = {name: spec for name, spec in taps.specs.items() if spec.layout != "other"}
        return cls(type(model).__name__, reads(model), parameters(model), Offer.of(model), known)


@dataclass(frozen=True)
class Facts:
    """A pair, in the words of the rules.

    Attributes:
        route: ``"lidar to camera"``: the teacher's sensors and the student's.
        gap: ``same`` or ``other`` sensors.
        heads: ``same`` kind of head, or ``other``.
        grids: ``same`` cells of the heads in metres, or ``other``.
        capacity: ``small``, ``medium`` or ``large`` gap between the teacher's parameters and the
            student's (factors of 2 and 8).
        ratio: That factor.
        labels: ``all``, ``some`` or ``unknown``: how many training frames are labelled.
    """

    route: str
    gap: str
    heads: str
    grids: str
    capacity: str
    ratio: float
    labels: str

    @classmethod
    def of(cls, student: Side, teacher: Side, labels: str = "unknown") -> Facts:
        """Compare two sides."""
        ours, theirs = student.offer.output, teacher.offer.output
        both = ours is not None and theirs is not None
        ratio = teacher.parameters / student.parameters
        capacity = "small" if ratio < SMALL_GAP else "medium" if ratio < LARGE_GAP else "large"
        return cls(
            route=f"{teacher.sensors} to {student.sensors}",
            gap=SAME if student.sensors == teacher.sensors else OTHER,
            heads=SAME if both and ours.layout == theirs.layout else OTHER,  # type: ignore[union-attr]
            grids=SAME if both and ours.same_grid(theirs) else OTHER,  # type: ignore[union-attr,arg-type]
            capacity=capacity,
            ratio=ratio,
            labels=labels,
        )
