"""Bring finished sweeps into the repository: run records, and tables of them.

Usage: python benchmarks/lidar/collect.py [screen leading ...]

Reads work_dirs/lidar/<sweep>, writes ``records/<sweep>.json`` (sweep.json and every run's record,
of its results 3D and BEV AP40) and puts the tables of all collected sweeps into ``results.md``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from kd3d.fileio import read_json, write_json, write_text
from kd3d.report.benchmarks.kitti import KITTI
from kd3d.report.record import RunRecord
from kd3d.sweep.summary import PLUS_MINUS

HERE = Path(__file__).parent
RECORDS, PAGE, WORK = HERE / "records", HERE / "results.md", Path("work_dirs/lidar")
TEACHERS = HERE / "teachers.json"
COLUMNS = ("car 3D", "car BEV", "car 3D, 0.5", "mean 3D", "mean BEV")
KEYS = tuple(metric.key for metric in KITTI.metrics)
ABOUT = """# Results on simulated KITTI

All data are simulated. AP40, moderate, in percent; mean {pm} standard error over seeds; overlaps
0.7 (car) and 0.5, but for "car 3D, 0.5". Gains are paired by seed, with their 95 % interval
(Student's t). Step: median seconds of a training step, with one thread, two runs at a time on two
cores. Memory: peak of the process. Made by `python benchmarks/lidar/collect.py`; every number, with
commit, machine, hashes and wall time of every run, is in [records](records).
"""


def main() -> None:
    """Collect the named sweeps and write the page about all there are."""
    for name in sys.argv[1:]:
        write_json(RECORDS / f"{name}.json", collected(WORK / name))
    made = [WORK / name / "record.json" for name in ("teacher", "teacher20")]
    if all(path.is_file() for path in made):
        write_json(TEACHERS, [compact(read_json(path)) for path in made])
    parts = [ABOUT.format(pm=PLUS_MINUS), teachers(read_json(TEACHERS))]
    parts += [section(path.stem, read_json(path)) for path in sorted(RECORDS.glob("*.json"))]
    write_text(PAGE, "\n".join(parts))


def collected(folder: Path) -> dict[str, Any]:
    """Return a sweep's numbers and its records."""
    numbers = read_json(folder / "sweep.json")
    records = []
    for run in numbers["runs"]:
        if run["state"] == "done":
            records.append(compact(read_json(Path(run["folder"]) / "record.json")))
    return {**numbers, "records": records}


def compact(record: dict[str, Any]) -> dict[str, Any]:
    """Return a run's record, of its result only 3D and BEV AP40, of its teacher only the hash."""
    record["result"] = {
        name: {metric: {"AP40": scores[metric]["AP40"]} for metric in ("3D", "BEV")}
        for name, scores in record["result"].items()
        if name not in ("notes", "curves")
    }
    teacher = record.pop("teacher")
    record["extra"]["teacher_sha256"] = teacher and teacher["sha256"]
    return record


def teachers(records: list[dict[str, Any]]) -> str:
    """Return the table of the teachers."""
    lines = ["## teachers", f"| name | {' | '.join(COLUMNS)} | labels | parameters | minutes |"]
    lines.append("|---" * (len(COLUMNS) + 4) + "|")
    for record in records:
        run = RunRecord.from_dict(record)
        values = " | ".join(f"{metric.read(run.result):.1f}" for metric in KITTI.metrics)
        minutes = record["wall_time_s"]["train"] / 60
        lines.append(
            f"| {run.name} | {values} | {run.supervision} | {run.params} | {minutes:.1f} |"
        )
    return "\n".join(lines) + "\n"


def section(name: str, numbers: dict[str, Any]) -> str:
    """Return the tables of one sweep."""
    base = numbers["baseline"]
    commits = ", ".join(sorted({str(record["commit"]) for record in numbers["records"]}))
    commands = ", ".join(sorted({f"`{record['command']}`" for record in numbers["records"]}))
    lines = [
        f"## {name}",
        f"{commands}, seeds {', '.join(map(str, numbers['seeds']))}, commit {commits}, "
        f"{numbers['machine']['cores']}-core {numbers['machine']['cpu']}. One row again: "
        f"`kd3d sweep {numbers['file']} --only ARM --out /tmp/again`.",
        "",
        f"| arm | seeds | {' | '.join(COLUMNS)} | steps | s a step | minutes | MB |",
        "|---" * (len(COLUMNS) + 6) + "|",
    ]
    for row in numbers["arms"]:
        values = " | ".join(shown(row["scores"][key]) for key in KEYS)
        steps = "-".join(map(str, sorted({row["iterations"][0], row["iterations"][-1]})))
        step = f"{row['step_time_s']['mean']:.3f}" if row["step_time_s"] else "?"
        minutes, memory = row["train_s"]["mean"] / 60, row["peak_memory_mb"]["mean"]
        lines.append(
            f"| {row['arm']} | {len(row['seeds'])} | {values} | {steps} | {step} | {minutes:.1f} | "
            f"{memory:.0f} |"
        )
    if not numbers["gains"]:
        return "\n".join(lines) + "\n"
    lines += [
        "",
        f"| gain of | over | pairs | {' | '.join(COLUMNS)} |",
        "|---" * (len(COLUMNS) + 3) + "|",
    ]
    for row in numbers["gains"]:
        values = " | ".join(gain(row["scores"][key]) for key in KEYS)
        over = row["over"] if row["over"] == base else f"{row['over']} (equal time)"
        lines.append(f"| {row['arm']} | {over} | {row['ap'][KEYS[0]]['n']} | {values} |")
    return "\n".join(lines) + "\n"


def shown(value: dict[str, Any] | None) -> str:
    """Return mean and standard error."""
    if value is None:
        return "?"
    error = "" if value["se"] is None else f" {PLUS_MINUS} {value['se']:.1f}"
    return f"{value['mean']:.1f}{error}"


def gain(value: dict[str, Any] | None) -> str:
    """Return a gain and its interval; bold beyond two standard errors."""
    if value is None:
        return "?"
    text = f"{value['mean']:+.1f}"
    if value["se"] is None:
        return text
    low, high = value["ci95"]
    text = f"{text} ({low:+.1f} to {high:+.1f})"
    return f"**{text}**" if abs(value["mean"]) > 2 * value["se"] else text


if __name__ == "__main__":
    main()
