"""Which parts of a teacher a student could begin with, as they are."""

from __future__ import annotations

import math
import re

from torch import nn

from kd3d.advice.facts import Side
from kd3d.core.spec import FeatureSpec
from kd3d.errors import UserError
from kd3d.models.inherit.kinds import handed_over

TAPS = {"backbone": r"bev_in|stage\d+", "neck": "bev", "bbox_head": "head"}  # whose cells count


def shared_parts(
    student: nn.Module, teacher: nn.Module, ours: Side, theirs: Side
) -> tuple[str, ...]:
    """Return the parts that have equal tensors in both detectors, on cells of equal size.

    Equal shapes alone are not enough: a map encoder that was trained on cells of 0.4 m knows
    objects of half the size, in cells, that they have on cells of 0.8 m.

    Args:
        student: The detector that would begin with them.
        teacher: The trained one.
        ours: The student's facts.
        theirs: The teacher's.
    """
    found = []
    for part, taps in TAPS.items():
        names = {name for name in (*ours.taps, *theirs.taps) if re.fullmatch(taps, name)}
        if not names or not all(_equal_cells(ours.taps.get(n), theirs.taps.get(n)) for n in names):
            continue
        try:
            handed_over(student, teacher, (part,))
        except UserError:
            continue
        found.append(part)
    return tuple(found)


def _equal_cells(one: FeatureSpec | None, other: FeatureSpec | None) -> bool:
    if one is None or other is None or one.cell_m is None or other.cell_m is None:
        return False
    return all(math.isclose(a, b, rel_tol=1e-3) for a, b in zip(one.cell_m, other.cell_m))


def inherit_hint(parts: tuple[str, ...]) -> str:
    """Return what a user is told of shared parts."""
    return (
        f"the student can begin with the teacher's {', '.join(parts)} (equal shapes and cells): "
        f"model.inherit=dict(type='handover', parts={list(parts)})"
    )
