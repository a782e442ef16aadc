"""Write the page: one self-contained HTML file and the same numbers as JSON."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import kd3d
from kd3d.errors import UserError
from kd3d.fileio import write_json, write_text
from kd3d.report import charts
from kd3d.report.benchmarks import METRICS
from kd3d.report.benchmarks.kitti import DIFFICULTIES, KITTI, ap
from kd3d.report.bootstrap import RESAMPLES, gain_over_frames
from kd3d.report.frames import SHOWN_FRAMES, choose_frames
from kd3d.report.models import Model, group
from kd3d.report.pictures import draw_frames
from kd3d.report.record import SCALARS_FILE, RunRecord, slug
from kd3d.report.scalars import Scalars, read_scalars
from kd3d.report.tables import (
    ap_tables,
    class_names,
    distance_tables,
    flatten,
    provenance,
    summary_rows,
)
from kd3d.report.text import markdown, table_csv
from kd3d.report.verdict import VERDICT_SDS, check_spread, compare, one_benchmark

PathLike = str | os.PathLike[str]
SUFFIXES = (".html", ".htm", ".md", ".csv")


def load_runs(runs: Sequence[PathLike | RunRecord]) -> list[RunRecord]:
    """Return the records.

    Raises:
        UserError: No runs, a folder without a good record, two runs of one name, role, method and
            seed, or runs of several benchmarks.
    """
    records = [run if isinstance(run, RunRecord) else RunRecord.load(run) for run in runs]
    if not records:
        raise UserError("no runs given", None, "name one or more run folders")
    keys = Counter((run.name, run.role, run.method, run.seed) for run in records)
    twice = [name for (name, *_), count in keys.items() if count > 1]
    if twice:
        raise UserError(f"two runs are named {twice[0]!r}", None, "names or seeds must differ")
    one_benchmark(records)
    return records


def write_report(
    runs: Sequence[PathLike | RunRecord],
    out: PathLike,
    title: str = "Distillation report",
    *,
    spread: dict[str, dict[str, Any]] | None = None,
    data_root: PathLike | None = None,
    score_threshold: float = 0.3,
    frames: int = SHOWN_FRAMES,
    resamples: int = RESAMPLES,
    allow_unequal: bool = False,
) -> Path:
    """Write the report of some runs and the same numbers beside it (`.json`).

    Args:
        runs: Run folders (`record.json`, `predictions/*.txt`, `scalars.json`) or records.
        out: The page (`.html`, `.htm`), or the numbers as text (`.md`, `.csv`); all of them go to
            the same name with the suffix `.json`.
        title: Heading of the page.
        spread: Seed-to-seed spread of the gain by metric: see `verdict.check_spread`.
        data_root: Data set folder, where the one in the records has moved.
        score_threshold: Boxes below this score are not drawn.
        frames: Number of evenly spaced frames to show; 0 shows none.
        resamples: How often frames are resampled for the interval of a single seed's gain; 0: no
            interval.
        allow_unequal: Show runs, with a warning, that differ in what must be equal.

    Returns:
        The path of the JSON file.

    Raises:
        UserError: Bad records, logs or spread, or runs that must not be compared; then nothing is
            written.
    """
    out = Path(out)
    if out.suffix.lower() not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        raise UserError(
            f"unknown kind of report {out.suffix!r}", out, f"name it with one of {known}"
        )
    records = load_runs(runs)
    spread = check_spread(spread)
    models = group(records)
    shown = [replace(model.first, name=model.name) for model in models]
    missing: list[str] = []
    logs = _read_logs(shown, missing)
    chosen = None
    if frames:
        chosen = choose_frames(shown, missing, score=score_threshold, count=frames, root=data_root)
    _note_missing(shown, missing)
    over_frames = None
    if resamples:
        over_frames = partial(gain_over_frames, resamples=resamples, root=data_root)
    comparisons = compare(records, spread, over_frames)
    numbers = report_numbers(models, title, comparisons, logs, chosen and chosen[0], missing)
    numbers["spread"] = spread
    _refuse_unequal(comparisons, allow_unequal)
    text = {".md": markdown, ".csv": table_csv}.get(out.suffix.lower())
    if text:
        page = text(numbers)
    else:
        page = render(models, numbers, logs, draw_frames(*chosen, shown) if chosen else [])
    json_path = out.with_suffix(".json")
    write_json(json_path, numbers)
    write_text(out, page)
    return json_path


def _refuse_unequal(comparisons: list[dict[str, Any]], allowed: bool) -> None:
    unfair = [(one, line) for one in comparisons for line in one["unfair"]]
    if unfair and not allowed:
        one, line = unfair[0]
        raise UserError(
            f"{one['distilled']} and {one['baseline']} are not comparable: {line}"
            + (f" (and {len(unfair) - 1} more)" if len(unfair) > 1 else ""),
            None,
            "--allow-unequal shows them with a warning",
        )


def report_numbers(
    models: list[Model],
    title: str,
    comparisons: list[dict[str, Any]],
    logs: dict[str, Scalars],
    choice: dict[str, Any] | None,
    missing: list[str],
) -> dict[str, Any]:
    """Return everything the page shows as numbers, ready for JSON."""
    runs = [run for model in models for run in model.runs]
    return {
        "title": title,
        "benchmark": runs[0].benchmark.name,
        "kd3d": kd3d.__version__,
        "simulated": any(run.data["simulated"] for run in runs),
        "verdict_sds": VERDICT_SDS,
        "comparisons": comparisons,
        "models": [
            {"name": model.name, "role": model.role, "seeds": model.seeds} for model in models
        ],
        "summary": summary_rows(models),
        "runs": [run.to_dict() for run in runs],
        "scalars": {name: _json_series(log) for name, log in logs.items()},
        "frames": choice,
        "missing": missing,
    }


def render(
    models: list[Model],
    numbers: dict[str, Any],
    logs: dict[str, Scalars],
    frames: list[dict[str, Any]],
) -> str:
    """Return the page's HTML."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    runs = [replace(model.first, name=model.name) for model in models]  # one column a model
    environment = Environment(
        loader=PackageLoader("kd3d.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["fixed"] = _fixed
    environment.filters["signed"] = lambda value, digits=2: _fixed(value, digits, "+")
    shared, rest = provenance(runs)
    certificates = [
        {"run": run.name, "rows": flatten(run.teacher)} for run in runs if run.teacher is not None
    ]
    return environment.get_template("report.html.j2").render(
        n=numbers,
        runs=runs,
        models=models,
        roles=charts.run_classes(runs),
        slug=slug,
        difficulties=DIFFICULTIES,
        benchmark=runs[0].benchmark,
        metrics=METRICS,
        class_names=class_names(runs),
        pair=_first_pair(runs, numbers),
        ap=ap,
        class_tables={"kitti": ap_tables, "nuscenes": distance_tables}[numbers["benchmark"]](runs),
        run_legend=charts.run_legend(runs),
        pareto=charts.pareto(models),
        pr_figures=charts.precision_recall(runs),
        loss_chart=charts.total_loss(runs, logs),
        term_figures=[(r, charts.term_charts(logs[r.name])) for r in runs if r.name in logs],
        frames=frames,
        certificates=certificates,
        shared=shared,
        rest=rest,
    )


def _fixed(value: float, digits: int = 2, sign: str = "") -> str:
    return f"{value:{sign}.{digits}f}".replace("-", "\u2212")


def _first_pair(
    runs: list[RunRecord], numbers: dict[str, Any]
) -> tuple[RunRecord, RunRecord] | None:
    """Return (baseline, distilled) of the first comparison."""
    if not numbers["comparisons"]:
        return None
    by_name = {run.name: run for run in runs}
    first = numbers["comparisons"][0]
    return by_name[first["baseline"]], by_name[first["distilled"]]


def _read_logs(runs: list[RunRecord], missing: list[str]) -> dict[str, Scalars]:
    logs = {}
    for run in runs:
        path = (run.folder or Path("nowhere")) / SCALARS_FILE
        if not path.is_file():
            missing.append(f"{run.name}: no scalars file ({SCALARS_FILE}), so no training curves")
            continue
        logs[run.name] = read_scalars(path)
        missing += [f"{run.name}: {note}" for note in logs[run.name].notes]
        if not logs[run.name].series:
            missing.append(f"{run.name}: {SCALARS_FILE} holds no training line")
    return logs


def _note_missing(runs: list[RunRecord], missing: list[str]) -> None:
    for role in ("teacher", "baseline", "distilled"):
        if not any(run.role == role for run in runs):
            missing.append(f"no {role} run was given")
    for run in runs:
        if run.benchmark is KITTI and not run.result.get("curves"):
            missing.append(f"{run.name}: the result holds no precision-recall curves")
        if run.role == "distilled" and run.teacher is None:
            missing.append(f"{run.name}: no teacher certificate is recorded")


def _json_series(log: Scalars) -> dict[str, dict[str, list[Any]]]:
    return {
        name: {"iter": steps, "value": [v if math.isfinite(v) else None for v in values]}
        for name, (steps, values) in log.series.items()
    }
