"""The charts of the page: precision over recall, losses and weights over training."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from markupsafe import Markup

from kd3d.report.models import Model
from kd3d.report.record import RunRecord
from kd3d.report.scalars import Scalars
from kd3d.report.statistics import mean
from kd3d.report.svg import SMALL, Series, legend, line_chart
from kd3d.report.tables import class_names

TERM_COLORS = 6
COSTS: tuple[tuple[str, str, float, Callable[[RunRecord], Any]], ...] = (
    ("parameters", "million parameters", 1e6, lambda run: run.params),
    ("compute", "GMACs a frame", 1e9, lambda run: run.macs),
    ("latency", "ms a frame, CPU", 1.0, lambda run: (run.latency_ms or {}).get("median")),
    ("size", "MB of the checkpoint", 1e6, lambda run: run.checkpoint_bytes),
)


def run_classes(runs: list[RunRecord]) -> dict[str, str]:
    """Return a CSS class of line style by run name; a role's second run is dashed."""
    seen: dict[str, int] = {}
    styles = {}
    for run in runs:
        count = seen.get(run.role, 0)
        styles[run.name] = f"role-{run.role}" + (f" more-{min(count, 2)}" if count else "")
        seen[run.role] = count + 1
    return styles


def curve_of(
    run: RunRecord, name: str, metric: str, overlap: str = "strict", level: int = 1
) -> tuple[list[float], list[float]] | None:
    """Return (recall, precision), 0 to 1, of `evaluate_kitti(curves=True)`, or None.

    Points behind the last reached recall (precision 0) are left out.
    """
    curves = run.result.get("curves")
    if not curves:
        return None
    try:
        precision = curves[name][metric][overlap][level]
        recall = curves["recall"]
    except (KeyError, IndexError, TypeError):
        return None
    last = max((i for i, value in enumerate(precision) if value > 0), default=-1)
    return recall[: last + 1], precision[: last + 1]


def precision_recall(runs: list[RunRecord]) -> list[dict[str, Any]]:
    """Return figures (title, svg) of precision over recall, moderate, strict, by class."""
    styles = run_classes(runs)
    figures = []
    for metric in ("3D", "BEV"):
        for name in class_names(runs):
            lines = []
            for run in runs:
                curve = curve_of(run, name, metric)
                if curve:
                    lines.append(Series(run.name, *curve, styles[run.name]))
            if lines:
                title = f"{name}, {metric}"
                svg = line_chart(
                    lines, "recall", "precision",
                    title=f"Precision over recall, {title}", x_range=(0, 1), y_range=(0, 1.02),
                    size=SMALL,
                )  # fmt: skip
                figures.append({"title": title, "svg": svg})
    return figures


def pareto(models: list[Model]) -> list[dict[str, Any]]:
    """Return figures (title, svg) of the primary score over what a model costs, a dot a model."""
    metric = models[0].first.benchmark.primary
    styles = run_classes([replace(model.first, name=model.name) for model in models])
    figures = []
    for title, label, scale, read in COSTS:
        dots = []
        for model in models:
            cost, scores = mean(model.values(read)), model.scores(metric)
            if cost is not None and scores:
                dot = f"{styles[model.name]} dot"
                dots.append(Series(model.name, [cost / scale], [mean(scores) or 0.0], dot))
        if len(dots) > 1:
            widest = max(dot.x[0] for dot in dots)
            svg = line_chart(
                dots, label, metric.label, title=f"{metric.label} over {title}",
                x_range=(0.0, 1.08 * widest), size=SMALL,
            )  # fmt: skip
            figures.append({"title": f"{metric.label} over {title}", "svg": svg})
    return figures


def run_legend(runs: list[RunRecord]) -> Markup:
    """Return the legend of charts with one line a run."""
    styles = run_classes(runs)
    return legend([(run.name, styles[run.name]) for run in runs])


def smooth(values: list[float], window: int) -> list[float]:
    """Return the centred moving mean; NaN values are left out of it and stay NaN."""
    result = []
    for i, value in enumerate(values):
        near = [v for v in values[max(0, i - window) : i + window + 1] if math.isfinite(v)]
        result.append(sum(near) / len(near) if math.isfinite(value) and near else math.nan)
    return result


def total_loss(runs: list[RunRecord], scalars: dict[str, Scalars]) -> Markup | None:
    """Return the chart of the task loss of all runs, or None without data.

    The task loss is the sum of the logged task terms, so that runs with and without distillation
    can be set side by side; the total where no task terms are logged.
    """
    styles = run_classes(runs)
    lines = []
    for run in runs:
        log = scalars.get(run.name)
        curve = task_loss(log) if log else None
        if curve:
            steps, values = curve
            lines.append(Series(run.name, steps, _tidy(values), styles[run.name]))
    if not lines:
        return None
    return line_chart(
        lines, "iteration", "task loss", title="Task loss over training", log_when_wide=True
    )


def task_loss(log: Scalars) -> tuple[list[int], list[float]] | None:
    """Return (steps, sum of the task terms), or the total loss where there are none."""
    names = log.names("task") or log.names("loss")
    if not names:
        return None
    sums: dict[int, float] = {}
    for name in names:
        for step, value in zip(*log.series[name]):
            sums[step] = sums.get(step, 0.0) + value
    steps = sorted(sums)
    return steps, [sums[step] for step in steps]


def term_charts(log: Scalars) -> list[dict[str, Any]]:
    """Return figures (title, svg, legend) of one run: task terms, distillation terms, weights."""
    figures = []
    for group, title, label in (
        ("task", "Task losses by term", "loss"),
        ("kd", "Distillation losses by term", "loss"),
        ("weight", "Weights by term", "weight"),
    ):
        names = log.names(group)
        lines = []
        for i, name in enumerate(names):
            steps, values = log.series[name]
            values = values if group == "weight" else _tidy(values)
            lines.append(Series(name, steps, values, f"term-{i % TERM_COLORS}"))
        if lines:
            svg = line_chart(
                lines, "iteration", label, title=title, log_when_wide=group != "weight"
            )
            entries = [(line.label, line.css) for line in lines]
            figures.append({"title": title, "svg": svg, "legend": legend(entries)})
    if "lr" in log.series:
        steps, values = log.series["lr"]
        svg = line_chart(
            [Series("lr", steps, values, "term-0")], "iteration", "lr", title="Learning rate"
        )
        figures.append({"title": "Learning rate", "svg": svg, "legend": ""})
    return figures


def _tidy(values: list[float]) -> list[float]:
    return smooth(values, len(values) // 60)
