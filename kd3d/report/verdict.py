"""Did distillation help? The gain over the same-budget baseline, set against the seeds' spread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kd3d.errors import UserError, did_you_mean
from kd3d.report.benchmarks import METRICS, Metric
from kd3d.report.benchmarks.values import is_number
from kd3d.report.models import Model, group
from kd3d.report.record import RunRecord
from kd3d.report.statistics import mean, of_interval
from kd3d.report.statistics import spread as statistics_of

FrameGains = Callable[[RunRecord, RunRecord], dict[str, list[float]]]

# A single seed's gain is called a gain only beyond this many standard deviations of the seeds.
VERDICT_SDS = 2.0
MUST_BE_EQUAL = (
    "iterations", "batch_size", "seed", "data", "recipe", "supervision", "params",
)  # fmt: skip


def check_spread(spread: Any) -> dict[str, dict[str, Any]]:
    """Return the spread table after validation.

    Args:
        spread: Metric key to ``{"sd": float, "n": int, "source": str}``: the standard deviation
            over `n` seeds **of the gain** (distilled minus baseline of the same seed).

    Raises:
        UserError: An unknown metric, or a value of another form.
    """
    if spread is None:
        return {}
    if not isinstance(spread, dict):
        raise UserError("the spread is not an object", "spread")
    for key, value in spread.items():
        if key not in METRICS:
            raise UserError(f"unknown metric {key!r}", "spread", did_you_mean(key, METRICS))
        good = isinstance(value, dict) and {"sd", "n", "source"} <= set(value)
        good = good and is_number(value["sd"]) and is_number(value["n"])
        if not good or value["sd"] < 0 or value["n"] < 2:
            raise UserError(f"{key} needs sd >= 0, n >= 2 and source", "spread")
    return spread


def compare(
    runs: list[RunRecord],
    spread: dict[str, dict[str, Any]] | None = None,
    over_frames: FrameGains | None = None,
) -> list[dict[str, Any]]:
    """Compare every distilled model with a baseline, paired by seed.

    The baseline is the one that differs least in what must be equal; of equals the first.

    Args:
        runs: Of one benchmark; runs of one model with several seeds are taken together (`group`).
        spread: The gain's spread over seeds, for gains of a single seed; see `check_spread`.
        over_frames: (baseline, distilled) -> metric key -> 95 % interval of the gain over resampled
            frames, for pairs of a single seed.

    Returns:
        One dict a distilled model: the names of the models, their common `seeds`, `unfair` (list
        of sentences), `metrics` (means, gains, interval, verdict and reason a metric) and
        `verdict`, that of the benchmark's primary metric: "gain", "no evidence", "loss" or "not
        comparable", with its `headline`.

    Raises:
        UserError: The runs are of several benchmarks.
    """
    one_benchmark(runs)
    spread = check_spread(spread)
    models = group(runs)
    baselines = [model for model in models if model.role == "baseline"]
    teacher = next((model for model in models if model.role == "teacher"), None)
    comparisons = []
    for model in models:
        if model.role != "distilled" or not baselines:
            continue
        baseline = min(baselines, key=lambda one: len(_unfairness(pair_up(one, model))))
        pairs = pair_up(baseline, model)
        unfair = _unfairness(pairs)
        frames = over_frames(*pairs[0]) if over_frames and len(pairs) == 1 else {}
        metrics = [
            _judge(metric, pairs, teacher, spread.get(metric.key), frames.get(metric.key), unfair)
            for metric in model.first.benchmark.metrics
        ]
        comparisons.append(
            {
                "distilled": model.name,
                "baseline": baseline.name,
                "teacher": teacher.name if teacher else None,
                "seeds": [run.seed for _, run in pairs],
                "unfair": unfair,
                "metrics": metrics,
                "verdict": metrics[0]["verdict"],
                "headline": headline(metrics[0], model.first.benchmark.detail),
            }
        )
    return comparisons


def pair_up(baseline: Model, model: Model) -> list[tuple[RunRecord, RunRecord]]:
    """Return the runs of common seeds side by side; the first two where no seed is common."""
    by_seed = {run.seed: run for run in baseline.runs}
    pairs = [(by_seed[run.seed], run) for run in model.runs if run.seed in by_seed]
    return pairs or [(baseline.first, model.first)]


def one_benchmark(runs: list[RunRecord]) -> None:
    """Refuse runs of several benchmarks side by side."""
    found = {run.benchmark.title: run.name for run in runs}
    if len(found) > 1:
        said = ", ".join(f"{name} on {title}" for title, name in found.items())
        raise UserError(f"runs of several benchmarks: {said}", None, "report them one by one")


def headline(metric: dict[str, Any], detail: str = "") -> str:
    """Return the verdict of one metric as a sentence; `detail` stands behind its label."""
    if metric["verdict"] == "not comparable":
        return f"No verdict: {metric['reason']}"
    shown, label = METRICS[metric["key"]], metric["label"]
    what = label[0].lower() + label[1:] if label[1:2].islower() else label
    what += f" ({detail})" if detail else ""
    size = shown.show(metric["gain"], signed=True)
    if metric["verdict"] == "gain":
        return f"A gain: {size} {what} over the same-budget baseline"
    if metric["verdict"] == "loss":
        return f"A loss: {size} {what} against the same-budget baseline"
    if metric["ci95"] and metric["n"] > 1:
        low, high = (shown.show(end, signed=True) for end in metric["ci95"])
        return f"No evidence of a gain: {size} {what}, 95 % interval {low} to {high}"
    if metric["threshold"] is None:
        return f"No evidence yet: {size} {what}, from one seed and without a stated spread"
    bar = f"\u00b1{shown.show(metric['threshold'])}"
    return f"No evidence of a gain: {size} {what} lies within the seeds\u2019 noise of {bar}"


def _unfairness(pairs: list[tuple[RunRecord, RunRecord]]) -> list[str]:
    return list(dict.fromkeys(line for pair in pairs for line in unfairness(*pair)))


def unfairness(baseline: RunRecord, distilled: RunRecord) -> list[str]:
    """Return a sentence for each thing that must be equal in a fair comparison and is not."""
    sentences = []
    for key in MUST_BE_EQUAL:
        ours, theirs = getattr(distilled, key), getattr(baseline, key)
        if ours == theirs:
            continue
        if isinstance(ours, dict) and isinstance(theirs, dict):
            parts = sorted(k for k in {*ours, *theirs} if ours.get(k) != theirs.get(k))
            for part in parts:
                sentences.append(
                    f"{key}.{part}: {distilled.name} {ours.get(part)!r}, "
                    f"{baseline.name} {theirs.get(part)!r}"
                )
        elif key == "recipe" and None in (ours, theirs):
            continue  # records of before it was kept
        else:
            sentences.append(f"{key}: {distilled.name} {ours!r}, {baseline.name} {theirs!r}")
    return sentences


def _judge(
    metric: Metric,
    pairs: list[tuple[RunRecord, RunRecord]],
    teacher: Model | None,
    spread: dict[str, Any] | None,
    over_frames: list[float] | None,
    unfair: list[str],
) -> dict[str, Any]:
    values = [tuple(metric.read(run.result) for run in pair) for pair in pairs]
    known = [(before, after) for before, after in values if None not in (before, after)]
    gains = statistics_of([after - before for before, after in known]) if known else None  # type: ignore[operator]
    before, after = (mean(column) for column in zip(*known)) if known else (None, None)
    top = mean(teacher.scores(metric)) if teacher else None
    kept = top if metric.higher else None  # a share of an error means nothing
    verdict, reason = _verdict(metric, gains, spread, over_frames, bool(unfair))
    return {
        "key": metric.key,
        "label": metric.label,
        "teacher": top,
        "baseline": before,
        "distilled": after,
        "gain": gains and gains["mean"],
        "n": len(known),
        "gains": gains["values"] if gains else [],
        "ci95": (gains and gains["ci95"]) or over_frames,
        "retention_baseline": before / kept if kept and before is not None else None,
        "retention_distilled": after / kept if kept and after is not None else None,
        "spread": spread,
        "threshold": None if spread is None else VERDICT_SDS * spread["sd"],
        "verdict": verdict,
        "reason": reason,
    }


def _verdict(
    metric: Metric,
    gains: dict[str, Any] | None,
    spread: dict[str, Any] | None,
    over_frames: list[float] | None,
    unfair: bool,
) -> tuple[str, str]:
    if gains is None:
        return "not comparable", "one of the runs lacks this metric"
    if unfair:
        return "not comparable", "the two did not have the same budget, data or seed"
    if gains["ci95"]:
        low, high = (metric.show(end, signed=True) for end in gains["ci95"])
        said = f"95 % interval {low} to {high}, {gains['n']} seeds"
        return of_interval(gains["ci95"], metric.higher), said
    frames = ""
    if over_frames:
        low, high = (metric.show(end, signed=True) for end in over_frames)
        frames = f"; over other frames {low} to {high} (95 %), which says nothing of other seeds"
    if spread is None:
        why = "one seed, and no seed-to-seed spread is stated for this metric"
        return "no evidence", why + frames
    threshold, gain = VERDICT_SDS * spread["sd"], gains["mean"]
    shown = metric.show(threshold)
    bar = f"\u00b1{shown} ({VERDICT_SDS:g} SD of the gain over {spread['n']} seeds)"
    if abs(gain) <= threshold:
        return "no evidence", f"within {bar}{frames}"
    return ("gain" if (gain > 0) == metric.higher else "loss"), f"beyond {bar}{frames}"
