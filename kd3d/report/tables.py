"""The numbers of the page as rows: summary, full AP and provenance."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from kd3d.data.nuscenes_tables import ERRORS
from kd3d.report.benchmarks import Metric
from kd3d.report.benchmarks.kitti import DIFFICULTIES, OVERLAPS, ap
from kd3d.report.benchmarks.nuscenes import DISTANCES, class_ap
from kd3d.report.models import Model
from kd3d.report.record import RunRecord
from kd3d.report.statistics import mean, spread

NOT_MEASURED = "not measured"
AP_METRICS = ("3D", "BEV", "2D", "AOS")
KINDS = ("AP40", "AP11")


def summary_rows(models: list[Model]) -> list[dict[str, Any]]:
    """Return the rows of the summary table, one cell a model.

    A cell has `value` (JSON number, text or None; the mean over seeds), `text`, `note` (relative
    to the teacher) and `best` (the best of the students).
    """
    teacher = next((model for model in models if model.role == "teacher"), None)
    benchmark = models[0].first.benchmark
    rows = [_score_row(metric, models, teacher) for metric in benchmark.metrics]
    said, read = benchmark.class_score
    known = {row["label"] for row in rows}
    for name in class_names([run for model in models for run in model.runs]):
        metric = Metric(name, f"{name} {said}", partial(_of_class, read, name))
        if metric.label not in known:
            rows.append(_score_row(metric, models, teacher))
    costs: list[tuple[str, Callable[[RunRecord], Any], Callable[[Any], str]]] = [
        ("Parameters", lambda r: r.params, count),
        ("MACs a frame", lambda r: r.macs, count),
        ("Latency, CPU", lambda r: (r.latency_ms or {}).get("median"), lambda v: f"{v:.1f} ms"),
        ("Checkpoint", lambda r: r.checkpoint_bytes, _bytes),
    ]
    rows += [_cost_row(label, value_of, show, models, teacher) for label, value_of, show in costs]
    times: list[tuple[str, Callable[[RunRecord], Any], Callable[[Any], str]]] = [
        ("Training time", lambda r: r.wall_time_s.get("train"), duration),
        ("Step time", lambda r: r.step_time_s, lambda v: f"{1000 * v:.0f} ms"),
        ("Test time", lambda r: r.wall_time_s.get("test"), duration),
        ("Iterations", lambda r: r.iterations, lambda v: f"{v:,.0f}"),
        ("Batch size", lambda r: r.batch_size, lambda v: f"{v:g}"),
    ]
    rows += [_plain_row(label, value_of, show, models) for label, value_of, show in times]
    cells = [_cell(model.seeds, lambda seeds: ", ".join(map(str, seeds))) for model in models]
    return [*rows, {"label": "Seeds", "group": "time", "cells": cells}]


def class_names(runs: list[RunRecord]) -> list[str]:
    """Return the classes of all runs, each once, in their order."""
    return list(dict.fromkeys(name for run in runs for name in run.classes))


def _of_class(read: Any, name: str, result: dict[str, Any]) -> float | None:
    return read(result, name)


def _score_row(metric: Metric, models: list[Model], teacher: Model | None) -> dict[str, Any]:
    spreads = [spread(v) if (v := model.scores(metric)) else None for model in models]
    values: list[Any] = [one and one["mean"] for one in spreads]
    top = values[models.index(teacher)] if teacher else None
    students = [v for model, v in zip(models, values) if model.role != "teacher" and v is not None]
    cells = []
    for model, value, one in zip(models, values, spreads):
        cell = _cell(value, metric.show)
        if one and one["se"] is not None:
            cell["text"] += f" \u00b1 {metric.show(one['se'])}"
            cell["se"] = one["se"]
        if value is not None and top and metric.higher and model is not teacher:
            cell["note"] = f"{100 * value / top:.0f} % kept"
            cell["retention"] = value / top
        student = model.role != "teacher" and len(students) > 1
        best = (max if metric.higher else min)(students, default=None)
        cell["best"] = student and value == best and min(students) < max(students)
        cells.append(cell)
    return {"label": metric.label, "group": "ap", "digits": metric.digits, "cells": cells}


def _cost_row(
    label: str,
    value_of: Callable[[RunRecord], Any],
    show: Callable[[Any], str],
    models: list[Model],
    teacher: Model | None,
) -> dict[str, Any]:
    row = _plain_row(label, value_of, show, models)
    top = row["cells"][models.index(teacher)]["value"] if teacher else None
    for model, cell in zip(models, row["cells"]):
        if cell["value"] and top and model is not teacher and cell["value"] != top:
            ratio = top / cell["value"]
            word = ("faster", "slower") if label.startswith("Latency") else ("smaller", "larger")
            cell["note"] = f"{max(ratio, 1 / ratio):.1f}\u00d7 {word[ratio < 1]}"
    threads = {run.latency_ms["threads"] for m in models for run in m.runs if run.latency_ms}
    if label.startswith("Latency") and threads:
        row["label"] += " (" + " / ".join(f"{t:g}" for t in sorted(threads)) + " threads)"
    return row | {"group": "cost"}


def _plain_row(
    label: str,
    value_of: Callable[[RunRecord], Any],
    show: Callable[[Any], str],
    models: list[Model],
) -> dict[str, Any]:
    cells = [_cell(mean(model.values(value_of)), show) for model in models]
    return {"label": label, "group": "time", "cells": cells}


def _cell(value: Any, show: Callable[[Any], str]) -> dict[str, Any]:
    text = NOT_MEASURED if value is None else show(value)
    return {"value": value, "text": text, "note": "", "best": False}


def ap_tables(runs: list[RunRecord]) -> list[dict[str, Any]]:
    """Return a KITTI result's table a class: rows metric x average x overlap, three APs a run."""
    tables = []
    for name in class_names(runs):
        rows = []
        for kind in KINDS:
            for metric in AP_METRICS:
                for overlap in OVERLAPS:
                    read = partial(ap, name=name, metric=metric, overlap=overlap, kind=kind)
                    cells = [
                        [read(run.result, difficulty=level) for level in DIFFICULTIES]
                        for run in runs
                    ]
                    if any(value is not None for cell in cells for value in cell):
                        rows.append(
                            {"kind": kind, "metric": metric, "overlap": overlap, "cells": cells}
                        )
        tables.append({"name": name, "rows": rows})
    return tables


def distance_tables(runs: list[RunRecord]) -> list[dict[str, Any]]:
    """Return a nuScenes result's table a class: AP by centre distance, then the errors."""
    tables = []
    for name in class_names(runs):
        rows = [
            (f"AP at {distance} m", 2, [class_ap(run.result, name, distance) for run in runs])
            for distance in DISTANCES
        ]
        rows += [
            (short, 3, [_class_error(run, name, key) for run in runs])
            for key, short in ERRORS.items()
        ]
        tables.append({"name": name, "rows": [row for row in rows if set(row[2]) != {None}]})
    return tables


def _class_error(run: RunRecord, name: str, key: str) -> float | None:
    return run.result.get("label_tp_errors", {}).get(name, {}).get(key)


def provenance(runs: list[RunRecord]) -> tuple[list[tuple[str, str]], list[dict[str, Any]]]:
    """Return what all runs share as (label, text) pairs, and the rest run by run."""
    own = [dict(_provenance_items(run)) for run in runs]
    labels = list(dict.fromkeys(label for items in own for label in items))
    shared, differing = [], []
    for label in labels:
        texts = {items.get(label, NOT_MEASURED) for items in own}
        if len(texts) == 1 and len(runs) > 1:
            shared.append((label, texts.pop()))
        else:
            differing.append(label)
    rest = [
        {"run": run, "rows": [(label, items.get(label, NOT_MEASURED)) for label in differing]}
        for run, items in zip(runs, own)
    ]
    return shared, rest


def _provenance_items(run: RunRecord) -> list[tuple[str, str]]:
    commit = (
        run.commit
        and run.commit + {True: ", with local changes", False: ", clean", None: ""}[run.dirty]
    )
    items = [
        ("config", run.config),
        ("config sha256", run.config_text_sha256),
        ("method", run.method or "none"),
        ("seed", run.seed),
        ("iterations", run.iterations),
        ("batch size", run.batch_size),
        *[(f"data {key}", value) for key, value in run.data.items()],
        ("supervision", run.supervision),
        ("budget", run.budget_note),
        ("checkpoint sha256", run.checkpoint_sha256),
        ("commit", commit),
        ("started", run.started),
        *[(f"time {key}", duration(value)) for key, value in run.wall_time_s.items()],
        *flatten(run.machine, "machine"),
        *flatten(run.versions, "version"),
        *flatten(run.extra, "extra"),
        ("command", run.command),
    ]
    return [(label, "not recorded" if value is None else str(value)) for label, value in items]


def flatten(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Return nested dicts as (path of keys, value) pairs; lists stay whole."""
    if not isinstance(value, dict):
        return [(prefix, value)]
    pairs = []
    for key, item in value.items():
        pairs += flatten(item, f"{prefix} {key}".strip())
    return pairs


def duration(seconds: float) -> str:
    """Return a time such as "48.2 s", "3 min 05 s" or "2 h 10 min"."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 100:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def count(value: float) -> str:
    """Return a number such as "51.2 k"."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:g}"


def _bytes(value: float) -> str:
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:g} B"
