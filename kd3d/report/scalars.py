"""The training log of a run: mmengine's `scalars.json`, one JSON object a line."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path

from kd3d.errors import UserError

NOT_CURVES = frozenset({"iter", "step", "epoch", "time", "data_time", "memory"})


@dataclass
class Scalars:
    """Logged values of one run.

    Attributes:
        series: Name to (steps, values); values may hold NaN where the log did.
        notes: What was wrong with the file, in words.
    """

    series: dict[str, tuple[list[int], list[float]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def names(self, group: str) -> list[str]:
        """Return the names of a group: "loss", "task", "kd", "weight" or "other"."""
        return [name for name in self.series if _group(name) == group]


def _group(name: str) -> str:
    if name == "loss":
        return "loss"
    if name.startswith("kd.") and name.endswith(".loss"):
        return "kd"
    if name.startswith("kd.") and name.endswith(".weight"):
        return "weight"
    if name.startswith("task.") or name.startswith("loss"):
        return "task"
    return "other"


def read_scalars(path: str | os.PathLike[str]) -> Scalars:
    """Read the training lines of a `scalars.json`.

    A step logged twice (a resumed run) keeps its last values. A last line that was cut off by an
    interruption is left out with a note. Lines of an evaluation (no "iter") are left out.

    Raises:
        UserError: A line that is no JSON object.
    """
    lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    scalars = Scalars()
    rows: dict[int, dict[str, float]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            if number == len(lines):
                scalars.notes.append(f"line {number} of {Path(path).name} is cut off; left out")
                break
            raise UserError("not a JSON line", f"{path}:{number}") from None
        if not isinstance(row, dict):
            raise UserError("not a JSON object", f"{path}:{number}")
        if isinstance(row.get("iter"), int):
            rows[row["iter"]] = row
    for step in sorted(rows):
        for name, value in rows[step].items():
            if name in NOT_CURVES or isinstance(value, bool) or not isinstance(value, int | float):
                continue
            steps, values = scalars.series.setdefault(name, ([], []))
            steps.append(step)
            values.append(float(value))
    bad = sum(not math.isfinite(v) for _, values in scalars.series.values() for v in values)
    if bad:
        scalars.notes.append(f"{bad} logged values are not finite; the curves have gaps there")
    return scalars
