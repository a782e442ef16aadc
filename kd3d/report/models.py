"""Runs of one model: the same arm, student and method with several seeds."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kd3d.report.benchmarks import Metric
from kd3d.report.record import ROLES, RunRecord

_SEED = re.compile(r"[/_\- ]?seed\d+$")


@dataclass(frozen=True)
class Model:
    """One or more runs that differ by their seed.

    Attributes:
        name: What the runs' names have in common.
        runs: Sorted by seed.
    """

    name: str
    runs: tuple[RunRecord, ...]

    @property
    def first(self) -> RunRecord:
        """The run of the lowest seed: shown where only one can be."""
        return self.runs[0]

    @property
    def role(self) -> str:
        """Teacher, baseline or distilled."""
        return self.first.role

    @property
    def seeds(self) -> list[int]:
        """The seeds, ascending."""
        return [run.seed for run in self.runs]

    def scores(self, metric: Metric) -> list[float]:
        """Return the metric of every run that has it."""
        return self.values(lambda run: metric.read(run.result))

    def values(self, read: Callable[[RunRecord], Any]) -> list[Any]:
        """Return what is known of every run."""
        return [value for value in map(read, self.runs) if value is not None]


def group(runs: list[RunRecord]) -> list[Model]:
    """Return the models of some runs: teachers, baselines, distilled ones, else in the given order.

    Runs belong together whose names are equal but for a last ``seed<k>``, with one role and method
    and different seeds.
    """
    found: dict[tuple[Any, ...], list[RunRecord]] = {}
    for run in runs:
        name = _SEED.sub("", run.name) or run.name
        key: tuple[Any, ...] = (name, run.role, run.method)
        if any(other.seed == run.seed for other in found.get(key, ())):
            key = (run.name, run.role, run.method, len(found))
        found.setdefault(key, []).append(run)
    models = []
    for (name, *_), members in found.items():
        ordered = sorted(members, key=lambda run: run.seed)
        called = name if len(ordered) > 1 else ordered[0].name
        models.append(Model(called, tuple(ordered)))
    return sorted(models, key=lambda model: ROLES.index(model.role))
