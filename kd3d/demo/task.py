"""What one demo is about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kd3d
from kd3d.engine.steps import Steps

ROOT = Path(kd3d.__file__).parents[1]


@dataclass(frozen=True)
class Task:
    """A teacher, a student and their data.

    Attributes:
        name: On the command line.
        title: Of the report.
        configs: Folder with teacher.py, baseline.py and distilled.py.
        method: What distilled.py does, for the record.
        frames: How many are simulated by default.
        minimum: Metric -> lowest score of an accepted teacher.
        spread: JSON file with the gain's spread over seeds, where it was measured.
        make_data: (steps, folder, frames, seed) -> the facts that records state about the data.
        check_labels: (config of the teacher) -> None; raises where the evaluator does not give the
            labels their full score.
        images: Whether images.py, trained beside the teacher and without labels, gives both
            students the first weights of their image side.
        at_once: How many trainings run at once.
    """

    name: str
    title: str
    configs: Path
    method: str
    frames: int
    minimum: dict[str, float]
    spread: Path
    make_data: Callable[[Steps, Path, int, int], dict[str, Any]]
    check_labels: Callable[[Any], None]
    images: bool = False
    at_once: int = 1
