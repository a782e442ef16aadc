"""Run a demo: data, teacher, baseline, distilled student, verdict, on two cores."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from kd3d.console import digits, say
from kd3d.demo.camera import CAMERA
from kd3d.demo.lidar import LIDAR
from kd3d.demo.task import Task
from kd3d.demo.training import WEIGHTS, Training, work_off
from kd3d.engine.certify import certify
from kd3d.engine.experiment import run_config
from kd3d.engine.steps import Steps, fingerprint
from kd3d.fileio import read_json
from kd3d.report.record import RunRecord
from kd3d.teachers.certificate import certificate_path, check_certificate

TASKS = {task.name: task for task in (LIDAR, CAMERA)}


def run_demo(
    task: Task,
    out: Path,
    frames: int | None = None,
    seed: int = 0,
    data_seed: int = 0,
    options: list[str] | None = None,
    minimum: dict[str, float] | None = None,
) -> Path:
    """Run (or continue) the demo and return the report's path.

    Args:
        task: One of `TASKS`.
        out: Work folder; data go to ``<out>/data``.
        frames: Simulated frames; None: the task's.
        seed: Of the models: initialisation, data order and augmentation.
        data_seed: Of the simulated data.
        options: Config overrides for all trainings.
        minimum: Metric -> lowest teacher score; default: the task's.

    Raises:
        UserError: The evaluator does not give the labels their full score, or the teacher is below
            the minimum.
    """
    minimum = task.minimum if minimum is None else minimum
    started = time.monotonic()
    steps = Steps(out)
    facts = task.make_data(steps, out / "data", frames or task.frames, data_seed)
    teacher = Training(_config(task, "teacher", out, facts, seed, options), facts, "teacher")
    first = [teacher]
    if task.images:
        images = _config(task, "images", out, facts, seed, options)
        first.append(Training(images, facts, "images", tested=False))
    work_off(first, task.at_once)
    weights = out / "teacher" / WEIGHTS
    steps.run(
        "certify the teacher",
        fingerprint(weights, minimum, out / "teacher" / "metrics.json"),
        [certificate_path(weights)],
        lambda: _certify(task, teacher.config, facts, minimum),
    )
    check_certificate(weights, minimum, required=True)
    run_students(task, out, out, seed, options)
    report = out / "report.html"
    whole = not options and frames in (None, task.frames)
    _report(task, out, report, task.spread if whole else None)
    say(f"the demo took {time.monotonic() - started:.0f} s; all data are simulated")
    return report


def run_students(
    task: Task, demo: Path, out: Path, seed: int, options: list[str] | None = None
) -> None:
    """Train and test the baseline and the distilled student of one seed.

    Args:
        task: One of `TASKS`.
        demo: The demo's work folder, with data and a certified teacher.
        out: Where the two runs go.
        seed: Of the students.
        options: Config overrides.
    """
    facts = RunRecord.load(demo / "teacher").data
    teacher = demo / "teacher" / WEIGHTS
    images = (demo / "images" / WEIGHTS,) if task.images else ()
    baseline = _config(task, "baseline", out, facts, seed, options)
    distilled = _config(task, "distilled", out, facts, seed, options)
    distilled.model.teachers.teacher.checkpoint = str(teacher)
    for config in (baseline, distilled):
        for path in images:
            config.model.inherit[0].teacher.checkpoint = str(path)
    work_off(
        [
            Training(baseline, facts, "baseline", needs=images),
            Training(distilled, facts, "distilled", task.method, (teacher, *images)),
        ],
        task.at_once,
    )


def _config(
    task: Task, name: str, out: Path, facts: dict[str, Any], seed: int, options: list[str] | None
) -> Any:
    return run_config(
        str(task.configs / f"{name}.py"), out / name, Path(facts["root"]), seed, options
    )


def _certify(task: Task, config: Any, facts: dict[str, Any], minimum: dict[str, float]) -> None:
    """Check the evaluator on the labels themselves, then write the teacher's certificate."""
    task.check_labels(config)
    metrics = certify(config, Path(config.work_dir) / WEIGHTS, minimum, facts)["metrics"]
    shown = ", ".join(
        f"{name} = {digits(metrics[name])} (minimum {low:g})" for name, low in minimum.items()
    )
    say(f"    labels as predictions score in full; teacher: {shown}")


def _report(task: Task, out: Path, report: Path, measured: Path | None) -> None:
    """Write the page; `measured`: how the gain varies with the seed at this length, if known."""
    from kd3d.report.page import write_report

    spread = read_json(measured)["gain_spread"] if measured and measured.is_file() else None
    write_report(
        [out / name for name in ("teacher", "baseline", "distilled")],
        report,
        task.title,
        spread=spread,
        data_root=out / "data",
    )
    for comparison in read_json(report.with_suffix(".json"))["comparisons"]:
        say(f"    {comparison['headline']}")
