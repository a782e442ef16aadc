"""What a sweep file says: arms, students, seeds, and how they are compared."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kd3d.errors import did_you_mean
from kd3d.report.benchmarks import METRICS
from kd3d.report.record import ROLES
from kd3d.sweep.yaml_file import Section, read_yaml

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
STUDENT_KEYS = ("config", "shrink", "override")
AS_CONFIGURED = "student"


@dataclass(frozen=True)
class Budget:
    """Train as long as another arm took.

    Attributes:
        like: The arm whose measured training time is matched.
        teacher: Add the training time of the sweep's teacher.
    """

    like: str
    teacher: bool = False


@dataclass(frozen=True)
class Arm:
    """One way to train the student.

    Attributes:
        name: Folder name.
        config: A config file, or ``kd3d::<path in configs>``; None for an arm with a budget, which
            takes everything but its length from the baseline.
        options: Config key -> value.
        method: Replaces the config's ``model.method``.
        role: ``baseline`` or ``distilled``; None tells it from the config.
        budget: See `Budget`.
        where: File and line, for messages.
    """

    name: str
    config: str | None
    options: dict[str, Any] = field(default_factory=dict)
    method: Any = None
    role: str | None = None
    budget: Budget | None = None
    where: str = ""


@dataclass(frozen=True)
class Sweep:
    """A whole sweep; its runs are arms x students x seeds.

    Attributes:
        file: The sweep file.
        data_root: The prepared data set.
        out: Where everything goes: ``<out>/<arm>/<student>/seed<k>``.
        seeds: Of initialisation, data order and augmentation; equal in all arms.
        arms: By name.
        students: Name -> None (as the arm's config has it) or a reference to a detector: see
            `kd3d.models.source.resolve_detector`.
        options: Config key -> value for all arms.
        baseline: The arm all others are compared with; None: the first baseline.
        teacher: Run folder of the teacher, for the report and for budgets.
        metric: Key of `kd3d.report.benchmarks.METRICS` that the table is about; None: the
            benchmark's primary one.
    """

    file: Path
    data_root: Path
    out: Path
    seeds: tuple[int, ...]
    arms: dict[str, Arm]
    students: dict[str, dict[str, Any] | None]
    options: dict[str, Any]
    baseline: str | None
    teacher: Path | None
    metric: str | None


def read_sweep(
    path: str | Path, out: str | Path | None = None, data_root: str | Path | None = None
) -> Sweep:
    """Read and check a sweep file.

    Args:
        path: The YAML file; paths in it are relative to the current folder, as in configs.
        out: Instead of the file's ``out``.
        data_root: Instead of the file's ``data_root``.

    Raises:
        UserError: Names the line and the key.
    """
    top = read_yaml(path)
    top.only(
        "data_root", "out", "seeds", "arms", "students", "options", "baseline", "teacher", "metric"
    )
    arms = {name: _arm(part, name) for name, part in _named(top, "arms")}
    for arm in arms.values():
        if arm.budget and (arm.budget.like not in arms or arms[arm.budget.like].budget):
            free = [name for name, other in arms.items() if not other.budget]
            section = top.section("arms").section(arm.name).section("budget")
            raise section.error(
                f"no arm {arm.budget.like!r} without a budget",
                "like",
                did_you_mean(arm.budget.like, free),
            )
    baseline = top.take("baseline", str, None)
    if baseline is not None and (baseline not in arms or arms[baseline].budget):
        raise top.error(f"no arm {baseline!r}", "baseline", did_you_mean(baseline, arms))
    metric = top.take("metric", str, None)
    if metric is not None and metric not in METRICS:
        raise top.error(f"unknown metric {metric!r}", "metric", did_you_mean(metric, METRICS))
    teacher = top.take("teacher", str, None)
    if teacher is None and any(arm.budget and arm.budget.teacher for arm in arms.values()):
        raise top.error("a budget counts the teacher, but the key 'teacher' (its run) is missing")
    return Sweep(
        file=Path(path),
        data_root=Path(data_root or top.take("data_root", str)),
        out=Path(out or top.take("out", str)),
        seeds=_seeds(top),
        arms=arms,
        students=_students(top),
        options=_options(top),
        baseline=baseline,
        teacher=Path(teacher) if teacher else None,
        metric=metric,
    )


def _named(top: Section, key: str) -> list[tuple[str, Section]]:
    """Return the sections of a mapping whose keys become folder names."""
    section = top.section(key)
    if not section.values:
        raise top.error("is empty", key)
    for name in section.values:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise section.error(
                f"{name!r} is no name", name, "letters, digits, _ . + -; quote a bare number"
            )
    return [(name, section.section(name)) for name in section.values]


def _arm(section: Section, name: str) -> Arm:
    section.only("config", "options", "method", "role", "budget")
    role = section.take("role", str, None)
    if role is not None and role not in ROLES[1:]:
        raise section.error(f"unknown role {role!r}", "role", did_you_mean(role, ROLES[1:]))
    budget = None
    if "budget" in section.values:
        for key in section.values:
            if key != "budget":
                raise section.error(
                    "does not go with a budget", key, "such an arm is the baseline, trained longer"
                )
        part = section.section("budget")
        part.only("like", "teacher")
        budget = Budget(part.take("like", str), part.take("teacher", bool, False))
    method = section.values.get("method")
    if method is not None and not isinstance(method, (dict, list)):
        raise section.error("wanted a mapping with a type, or a list of them", "method")
    return Arm(
        name=name,
        config=None if budget else section.take("config", str),
        options=_options(section),
        method=method,
        role="baseline" if budget else role,
        budget=budget,
        where=f"{section.file}:{section.lines[section.path]}: {'.'.join(section.path)}",
    )


def _options(section: Section) -> dict[str, Any]:
    options = section.section("options", {})
    for key in options.values:
        if not isinstance(key, str) or not key:
            raise options.error("is no config key", key)
    return options.values


def _seeds(top: Section) -> tuple[int, ...]:
    seeds = top.take("seeds", list)
    for index, seed in enumerate(seeds):
        if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32:
            raise top.error(f"number {index + 1} is {seed!r}, wanted 0 to 4294967295", "seeds")
    if not seeds or len(set(seeds)) < len(seeds):
        raise top.error("is empty" if not seeds else "names a seed twice", "seeds")
    return tuple(seeds)


def _students(top: Section) -> dict[str, dict[str, Any] | None]:
    if "students" not in top.values:
        return {AS_CONFIGURED: None}
    students: dict[str, dict[str, Any] | None] = {}
    for name, section in _named(top, "students"):
        section.only(*STUDENT_KEYS)
        section.take("config", str, None)
        section.take("shrink", dict, None)
        section.take("override", dict, None)
        students[name] = section.values or None
    return students
