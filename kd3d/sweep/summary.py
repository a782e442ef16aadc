"""The end of a sweep: mean and standard error an arm, and the gain over the baseline by pairs."""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.table import Table

from kd3d.engine import provenance
from kd3d.report.benchmarks import BENCHMARKS, METRICS, Benchmark, Metric
from kd3d.report.record import RunRecord
from kd3d.report.statistics import of_interval, spread
from kd3d.report.tables import duration
from kd3d.report.verdict import unfairness
from kd3d.sweep.plan import Sweep
from kd3d.sweep.runs import BLOCKED, DONE, FAILED, LOG_FILE, Run, run_name

PLUS_MINUS = "\u00b1"


def arm_rows(sweep: Sweep, records: dict[str, RunRecord]) -> list[dict[str, Any]]:
    """Return, for each arm and student, the spread over seeds of every metric and of the cost."""
    rows = []
    for student in sweep.students:
        for arm in sweep.arms:
            names = [run_name(arm, student, seed) for seed in sweep.seeds]
            of = [records[name] for name in names if name in records]
            if not of:
                continue
            row: dict[str, Any] = {
                "arm": arm,
                "student": student,
                "seeds": [run.seed for run in of],
                "params": of[0].params,
                "iterations": sorted({run.iterations for run in of}),
                "scores": {},
            }
            for metric in of[0].benchmark.metrics:
                values = [metric.read(run.result) for run in of]
                known = [value for value in values if value is not None]
                row["scores"][metric.key] = spread(known) if known else None
            row["train_s"] = spread([run.wall_time_s["train"] for run in of])
            steps = [run.step_time_s for run in of if run.step_time_s]
            row["step_time_s"] = spread(steps) if steps else None
            row["peak_memory_mb"] = spread([run.extra["peak_memory_mb"] for run in of])
            rows.append(row)
    return rows


def gain_rows(
    sweep: Sweep, baseline: str | None, records: dict[str, RunRecord]
) -> list[dict[str, Any]]:
    """Return the gain of every arm over the baseline, and over the baseline of its own budget.

    Runs are paired by seed and student.
    """
    rows = []
    for student in sweep.students:
        for name in sweep.arms:
            others = [] if baseline in (None, name) else [str(baseline)]
            others += [o.name for o in sweep.arms.values() if o.budget and o.budget.like == name]
            for other in others:
                row = _gain(sweep, name, other, student, records)
                if row:
                    rows.append(row)
    return rows


def _gain(
    sweep: Sweep, arm: str, over: str, student: str, records: dict[str, RunRecord]
) -> dict[str, Any] | None:
    names = [(run_name(arm, student, s), run_name(over, student, s)) for s in sweep.seeds]
    pairs = [(records[a], records[b]) for a, b in names if a in records and b in records]
    if not pairs:
        return None
    row: dict[str, Any] = {"arm": arm, "over": over, "student": student, "scores": {}}
    timed = sweep.arms[over].budget is not None
    longer = sweep.arms[arm].budget is not None
    row["equal"] = "training time" if timed else "data" if longer else "iterations"
    row["unfair"] = sorted({s for a, b in pairs for s in _unfair(a, b, timed or longer)})
    for metric in pairs[0][0].benchmark.metrics:
        both = [(metric.read(a.result), metric.read(b.result)) for a, b in pairs]
        gains = [after - before for after, before in both if None not in (after, before)]  # type: ignore[operator]
        row["scores"][metric.key] = spread(gains) if gains else None
    return row


def _unfair(run: RunRecord, baseline: RunRecord, iterations_differ: bool) -> list[str]:
    """Return what is unequal and should not be."""
    sentences = unfairness(baseline, run)
    return [s for s in sentences if not (iterations_differ and s.startswith("iterations:"))]


def verdict(gain: dict[str, Any], unfair: list[str], higher: bool = True) -> str:
    """Return ``gain``, ``loss``, ``no evidence`` or ``not comparable`` for a spread of gains.

    Args:
        gain: See `spread`.
        unfair: What is unequal and should not be.
        higher: Whether more is better.
    """
    if unfair:
        return "not comparable"
    return of_interval(gain["ci95"], higher) if gain["ci95"] else "no evidence"


def sweep_json(
    sweep: Sweep,
    baseline: str | None,
    runs: dict[str, Run],
    records: dict[str, RunRecord],
    command: str,
) -> dict[str, Any]:
    """Return the content of ``sweep.json``."""
    listed = []
    for run in runs.values():
        entry: dict[str, Any] = {
            "name": run.name, "arm": run.arm, "student": run.student, "seed": run.seed,
            "state": run.state, "folder": str(run.folder),
        }  # fmt: skip
        if run.state in (FAILED, BLOCKED):
            entry.update(error=run.note)
        if run.state == FAILED:
            entry.update(log=str(run.folder / LOG_FILE))
        if run.state == DONE:
            record = records[run.name]
            entry["scores"] = {m.key: m.read(record.result) for m in record.benchmark.metrics}
            entry.update(
                iterations=record.iterations, train_s=record.wall_time_s["train"],
                step_time_s=record.step_time_s, budget_note=record.budget_note,
                commit=record.commit, dirty=record.dirty,
            )  # fmt: skip
        listed.append(entry)
    gains = gain_rows(sweep, baseline, records)
    for row in gains:
        row["verdict"] = {
            key: verdict(gain, row["unfair"], METRICS[key].higher)
            for key, gain in row["scores"].items()
            if gain
        }
    benchmark = _benchmark(records)
    return {
        "file": str(sweep.file),
        "command": command,
        "benchmark": benchmark.name,
        "metric": sweep.metric or benchmark.primary.key,
        "baseline": baseline,
        "seeds": list(sweep.seeds),
        "arms": arm_rows(sweep, records),
        "gains": gains,
        "runs": listed,
        "versions": provenance.versions(),
        "machine": provenance.machine(),
    }


def _benchmark(records: dict[str, RunRecord]) -> Benchmark:
    """Return the benchmark of the runs; KITTI where none is done."""
    return next((record.benchmark for record in records.values()), BENCHMARKS["kitti"])


def tables(numbers: dict[str, Any]) -> Group:
    """Return the tables that end a sweep."""
    detail = BENCHMARKS[numbers["benchmark"]].detail
    label = METRICS[numbers["metric"]].label + (f" ({detail})" if detail else "")
    parts = [_arm_table(numbers, label), _gain_table(numbers, label), _failure_table(numbers)]
    return Group(*[part for part in parts if part.row_count])


def _arm_table(numbers: dict[str, Any], label: str) -> Table:
    table = Table(title=f"{label}, mean {PLUS_MINUS} standard error over seeds")
    for name in ("arm", "student"):
        table.add_column(name)
    for name in ("seeds", label, "iterations", "step", "training", "memory"):
        table.add_column(name, justify="right")
    metric = METRICS[numbers["metric"]]
    for row in numbers["arms"]:
        steps = row["iterations"]
        table.add_row(
            row["arm"],
            row["student"],
            str(len(row["seeds"])),
            _shown(metric, row["scores"][metric.key]),
            str(steps[0]) if len(steps) == 1 else f"{steps[0]}-{steps[-1]}",
            f"{1000 * row['step_time_s']['mean']:.0f} ms" if row["step_time_s"] else "?",
            duration(row["train_s"]["mean"]),
            f"{row['peak_memory_mb']['mean']:.0f} MB",
        )
    return table


def _gain_table(numbers: dict[str, Any], label: str) -> Table:
    table = Table(title=f"Gain in {label}, paired by seed")
    for name in ("arm", "over", "at equal", "student"):
        table.add_column(name)
    for name in ("pairs", "gain", "95 % interval"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    metric = METRICS[numbers["metric"]]
    for row in numbers["gains"]:
        gain = row["scores"][metric.key]
        if gain is None:
            continue
        interval = gain["ci95"]
        why = row["unfair"][0] if row["unfair"] else ""
        said = row["verdict"][metric.key]
        table.add_row(
            row["arm"], row["over"], row["equal"], row["student"], str(gain["n"]),
            _shown(metric, gain, signed=True),
            f"{metric.show(interval[0], True)} to {metric.show(interval[1], True)}"
            if interval
            else "one seed",
            f"{said}: {why}" if why else said,
        )  # fmt: skip
    return table


def _failure_table(numbers: dict[str, Any]) -> Table:
    table = Table(title="Not done")
    for name in ("run", "state", "why", "log"):
        table.add_column(name, overflow="fold")
    for run in numbers["runs"]:
        if run["state"] != DONE:
            table.add_row(run["name"], run["state"], run.get("error") or "", run.get("log") or "")
    return table


def _shown(metric: Metric, value: dict[str, Any] | None, signed: bool = False) -> str:
    if value is None:
        return "not measured"
    mean = metric.show(value["mean"], signed)
    return mean if value["se"] is None else f"{mean} {PLUS_MINUS} {metric.show(value['se'])}"
