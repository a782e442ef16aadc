"""A finished sweep as one small JSON object and as Markdown: what a repository keeps of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from kd3d.errors import UserError
from kd3d.fileio import read_json, write_json, write_text
from kd3d.report.benchmarks import BENCHMARKS, Metric, benchmark_of
from kd3d.report.record import RECORD_FILE, RunRecord
from kd3d.sweep.runs import DONE

PLUS_MINUS = "\u00b1"
AS_MODULE = re.compile(r"\S*kd3d/cli/main\.py")  # how `python -m kd3d.cli.main` is recorded


def collect(here: Path, work: Path, about: str, sweeps: list[str], models: list[str]) -> None:
    """Bring finished sweeps into a folder of a repository, and write one page about all in it.

    Writes ``records/<sweep>.json`` (see `collected`), ``teachers.json`` (the teachers' records,
    where all are there) and ``results.md``.

    Args:
        here: The folder.
        work: Where the sweeps' and the teachers' runs lie.
        about: The page's beginning.
        sweeps: Names of folders in `work` to bring in.
        models: Names of run folders in `work`: the teachers.

    Raises:
        UserError: A sweep that has not run.
    """
    for name in sweeps:
        write_json(here / "records" / f"{name}.json", collected(work / name))
    made = [work / name / RECORD_FILE for name in models]
    if all(path.is_file() for path in made):
        write_json(here / "teachers.json", [brief(read_json(path)) for path in made])
    parts = [about, "## teachers\n" + run_table(read_json(here / "teachers.json"))]
    kept = sorted((here / "records").glob("*.json"))
    parts += [sweep_tables(path.stem, read_json(path)) for path in kept]
    write_text(here / "results.md", "\n".join(parts))


def collected(folder: str | Path) -> dict[str, Any]:
    """Return a sweep's numbers with the records of its finished runs.

    Args:
        folder: The sweep's ``out``, with ``sweep.json``.

    Raises:
        UserError: There is no ``sweep.json``.
    """
    path = Path(folder) / "sweep.json"
    if not path.is_file():
        raise UserError("no sweep.json in it", folder, "run kd3d sweep first")
    numbers = read_json(path)
    done = [Path(run["folder"]) for run in numbers["runs"] if run["state"] == DONE]
    numbers["command"] = _called(numbers["command"])
    return {**numbers, "records": [brief(read_json(run / RECORD_FILE)) for run in done]}


def brief(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record with what its metrics need of the result, and the teacher's hash alone."""
    teacher = record.get("teacher")
    return {
        **{key: value for key, value in record.items() if key != "teacher"},
        "command": _called(record["command"]),
        "result": benchmark_of(record["result"]).brief(record["result"]),
        "extra": {**record["extra"], "teacher_sha256": teacher and teacher["sha256"]},
    }


def _called(command: str | None) -> str | None:
    return command and AS_MODULE.sub("kd3d", command)


def run_table(records: list[dict[str, Any]]) -> str:
    """Return the table of single runs, teachers for instance."""
    metrics = benchmark_of(records[0]["result"]).metrics
    lines = table_head(["name", *[m.short for m in metrics], "labels", "parameters", "minutes"])
    for record in records:
        run = RunRecord.from_dict(record)
        values = [metric.read(run.result) for metric in metrics]
        shown = [_plain(metric, value) for metric, value in zip(metrics, values)]
        minutes = f"{run.wall_time_s['train'] / 60:.1f}"
        lines.append(table_line([run.name, *shown, run.supervision, run.params, minutes]))
    return "\n".join(lines) + "\n"


def sweep_tables(name: str, numbers: dict[str, Any]) -> str:
    """Return the section of one sweep: arms with cost, then gains.

    Args:
        name: Its heading.
        numbers: See `collected`.
    """
    metrics = BENCHMARKS[numbers["benchmark"]].metrics
    commits = ", ".join(sorted({str(record["commit"]) for record in numbers["records"]}))
    commands = ", ".join(sorted({f"`{record['command']}`" for record in numbers["records"]}))
    machine, seeds = numbers["machine"], ", ".join(map(str, numbers["seeds"]))
    lines = [
        f"## {name}",
        f"{commands}, seeds {seeds}, commit {commits}, {machine['cores']}-core {machine['cpu']}. "
        f"One row again: `kd3d sweep {numbers['file']} --only ARM --out /tmp/again`.",
        "",
    ]
    names = [metric.short for metric in metrics]
    lines += table_head(["arm", "seeds", *names, "steps", "s a step", "minutes", "MB"])
    for row in numbers["arms"]:
        values = [shown(metric, row["scores"][metric.key]) for metric in metrics]
        steps = "-".join(map(str, sorted({row["iterations"][0], row["iterations"][-1]})))
        step = f"{row['step_time_s']['mean']:.3f}" if row["step_time_s"] else "?"
        minutes, memory = row["train_s"]["mean"] / 60, row["peak_memory_mb"]["mean"]
        cost = [steps, step, f"{minutes:.1f}", f"{memory:.0f}"]
        lines.append(table_line([row["arm"], len(row["seeds"]), *values, *cost]))
    if numbers["gains"]:
        lines += ["", *table_head(["gain of", "over", "pairs", *names])]
    for row in numbers["gains"]:
        over = row["over"] + (" (equal time)" if row["over"] != numbers["baseline"] else "")
        pairs = max(gain["n"] if gain else 0 for gain in row["scores"].values())
        values = [shown_gain(metric, row["scores"][metric.key]) for metric in metrics]
        lines.append(table_line([row["arm"], over, pairs, *values]))
    return "\n".join(lines) + "\n"


def shown(metric: Metric, value: dict[str, Any] | None) -> str:
    """Return mean and standard error."""
    if value is None:
        return "?"
    error = "" if value["se"] is None else f" {PLUS_MINUS} {_plain(metric, value['se'])}"
    return _plain(metric, value["mean"]) + error


def shown_gain(metric: Metric, value: dict[str, Any] | None) -> str:
    """Return a gain and its interval; bold where it is better by over two standard errors."""
    if value is None:
        return "?"
    text = _plain(metric, value["mean"], "+")
    if value["se"] is None:
        return text
    low, high = (_plain(metric, end, "+") for end in value["ci95"])
    text = f"{text} ({low} to {high})"
    better = value["mean"] if metric.higher else -value["mean"]
    return f"**{text}**" if better > 2 * value["se"] else text


def _plain(metric: Metric, value: float | None, sign: str = "") -> str:
    """Return a value with one digit less than on a page: tables are wide."""
    return "?" if value is None else f"{value:{sign}.{metric.digits - 1}f}"


def table_head(names: list[str]) -> list[str]:
    """Return the first two lines of a Markdown table."""
    return [table_line(names), "|---" * len(names) + "|"]


def table_line(cells: list[Any]) -> str:
    """Return a line of a Markdown table."""
    return "| " + " | ".join(map(str, cells)) + " |"
