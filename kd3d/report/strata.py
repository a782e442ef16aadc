"""Which labels are found: by distance, by how well they are seen, by class."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from kd3d.report.scenes import Boxes

EDGES_M = (0.0, 15.0, 30.0, 45.0)


class Strata:
    """Counts labels, and those that each run found, over frames."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], dict[str | None, int]] = {}

    def add(self, truth: Boxes, found: dict[str, np.ndarray]) -> None:
        """Count one frame.

        Args:
            truth: Its labels.
            found: Run -> (N,) which of them it found.
        """
        columns = {"distance": distances(truth.box), **truth.seen, "class": truth.name}
        for group, column in columns.items():
            for label in dict.fromkeys(column):
                inside = column == label
                counts = self.counts.setdefault((group, str(label)), {})
                counts[None] = counts.get(None, 0) + int(inside.sum())
                for run, flags in found.items():
                    counts[run] = counts.get(run, 0) + int((flags & inside).sum())

    def rows(self) -> list[dict[str, Any]]:
        """Return ``{"group", "label", "labels", "found": {run: count}}`` a stratum, in order."""
        rows = []
        groups = list(dict.fromkeys(group for group, _ in self.counts))
        for group in sorted(groups, key=lambda one: (one == "class", groups.index(one))):
            inside = [label for other, label in self.counts if other == group]
            for label in inside if group == "class" else sorted(inside, key=_place):
                counts = self.counts[group, label]
                found = {run: count for run, count in counts.items() if run is not None}
                rows.append(
                    {"group": group, "label": label, "labels": counts[None], "found": found}
                )
        return rows


def distances(boxes: np.ndarray) -> np.ndarray:
    """Return (N,) texts such as ``15 to 30 m``: how far centres are, seen from above."""
    far = np.hypot(boxes[:, 0], boxes[:, 1])
    names = [f"{low:g} to {high:g} m" for low, high in itertools.pairwise(EDGES_M)]
    names.append(f"{EDGES_M[-1]:g} m and more")
    return np.array(names, dtype=object)[np.digitize(far, EDGES_M[1:])]


def _place(label: str) -> tuple[float, str]:
    """Sort texts by the number they begin with."""
    digits = label.split(" ")[0]
    return (float(digits) if digits.replace(".", "").isdigit() else -1.0), label
