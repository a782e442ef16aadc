"""Which method runs on which pair of detectors: one rule, from the methods' cards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kd3d.core.card import MethodCard
from kd3d.core.probe import bev_grid, probe
from kd3d.core.spec import FeatureSpec
from kd3d.core.taps import TapSet, aliases, groups, head_of

DATA = ("gt_boxes",)  # needs that the batch fulfils, not the detectors
ROWS = ("pillars", "voxel")
AGREEMENTS = {
    "head": "heads of one kind and as many classes",
    "grid": "heads of one grid",
    "anchor_grid": "heads of one grid, if they are anchor heads",
    "voxels": "the same voxels, so that rows correspond",
    "stages": "as many backbone stages",
    "centre_student": "a student with a centre head",
}


@dataclass(frozen=True)
class Offer:
    """What a detector offers to methods.

    Attributes:
        taps: Names that a method can read.
        head: Type of its head; None: it has none with an alias.
        output: Spec of the head's output.
        voxels: Its grid of voxels, see `kd3d.core.probe.bev_grid`.
        stages: Number of backbone stages with an alias.
    """

    taps: frozenset[str]
    head: str | None
    output: FeatureSpec | None
    voxels: Any
    stages: int

    @classmethod
    def of(cls, model: Any) -> Offer:
        """Look at a detector; one forward pass on made-up inputs."""
        several, head = groups(model), head_of(model)
        output = None
        if head is not None:
            taps = TapSet(model, ["head"])
            probe(model, taps)
            output = taps.specs["head"]
        return cls(
            frozenset({*aliases(model), *several}),
            None if head is None else type(head).__name__,
            output,
            bev_grid(model),
            len(several.get("stages", ())),
        )


def agreements(card: MethodCard) -> tuple[str, ...]:
    """Return what must agree in both models; see `MethodCard.same`."""
    if card.same is not None:
        return card.same
    found: tuple[str, ...] = ("head", "grid") if "head" in card.needs else ()
    found += ("stages",) if "stages" in card.needs else ()
    return found + (("voxels",) if set(ROWS) & set(card.needs) else ())


def refusal(card: MethodCard, student: Offer, teacher: Offer) -> str | None:
    """Return why a method, as its card's default, does not run on a pair; None: it runs.

    Args:
        card: The method's.
        student: What the student offers.
        teacher: What the teacher offers.
    """
    for side, offer in (("student", student), ("teacher", teacher)):
        for need in card.needs:
            if need not in DATA and need not in offer.taps:
                return f"the {side} has no {need}"
        if card.heads and offer.head not in card.heads:
            return f"the {side}'s head is a {offer.head}"
    for name in agreements(card):
        if not _AGREE[name](student, teacher):
            return f"it needs {AGREEMENTS[name]}"
    return None


def _same_head(student: Offer, teacher: Offer) -> bool:
    ours, theirs = student.output, teacher.output
    if ours is None or theirs is None:
        return False
    if ours.classes and theirs.classes:  # matched by name, see kd3d.core.classes
        return {n for task in ours.classes for n in task} <= {n for t in theirs.classes for n in t}
    return (ours.layout, ours.channels) == (theirs.layout, theirs.channels)


def _same_grid(student: Offer, teacher: Offer) -> bool:
    ours, theirs = student.output, teacher.output
    return ours is not None and theirs is not None and ours.same_grid(theirs)


def _is_centre(output: FeatureSpec | None) -> bool:
    return output is not None and output.layout == "center_head"


def _same_anchor_grid(student: Offer, teacher: Offer) -> bool:
    outputs = (student.output, teacher.output)
    anchors = any(spec is not None and spec.layout == "anchor_head" for spec in outputs)
    return not anchors or _same_grid(student, teacher)


_AGREE = {
    "head": _same_head,
    "grid": _same_grid,
    "anchor_grid": _same_anchor_grid,
    "voxels": lambda student, teacher: student.voxels == teacher.voxels,
    "stages": lambda student, teacher: student.stages == teacher.stages,
    "centre_student": lambda student, teacher: _is_centre(student.output),
}
