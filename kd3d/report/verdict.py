"""Did distillation help? The gain over the same-budget baseline, set against the seeds' spread."""

from __future__ import annotations

from typing import Any

from kd3d.errors import UserError, did_you_mean
from kd3d.report.benchmarks import METRICS, Metric
from kd3d.report.benchmarks.values import is_number
from kd3d.report.record import RunRecord

# A single seed's gain is called a gain only beyond this many standard deviations of the seeds.
VERDICT_SDS = 2.0
MUST_BE_EQUAL = ("iterations", "batch_size", "seed", "data", "supervision", "params")


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
    runs: list[RunRecord], spread: dict[str, dict[str, Any]] | None = None
) -> list[dict[str, Any]]:
    """Compare every distilled run with the baseline of its seed (or the first one).

    Returns:
        One dict a distilled run: the names of the runs, `unfair` (list of sentences), `metrics`
        (values, gain, verdict and reason a metric) and `verdict`, that of the benchmark's primary
        metric: "gain", "no evidence", "loss" or "not comparable", with its `headline`.

    Raises:
        UserError: The runs are of several benchmarks.
    """
    one_benchmark(runs)
    spread = check_spread(spread)
    baselines = [run for run in runs if run.role == "baseline"]
    teacher = next((run for run in runs if run.role == "teacher"), None)
    comparisons = []
    for run in runs:
        if run.role != "distilled" or not baselines:
            continue
        baseline = next((b for b in baselines if b.seed == run.seed), baselines[0])
        unfair = unfairness(baseline, run)
        metrics = [
            _judge(metric, baseline, run, teacher, spread.get(metric.key), bool(unfair))
            for metric in run.benchmark.metrics
        ]
        comparisons.append(
            {
                "distilled": run.name,
                "baseline": baseline.name,
                "teacher": teacher.name if teacher else None,
                "seed": run.seed,
                "unfair": unfair,
                "metrics": metrics,
                "verdict": metrics[0]["verdict"],
                "headline": headline(metrics[0], run.benchmark.detail),
            }
        )
    return comparisons


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
    if metric["threshold"] is None:
        return f"No evidence yet: {size} {what}, from one seed and without a stated spread"
    bar = f"\u00b1{shown.show(metric['threshold'])}"
    return f"No evidence of a gain: {size} {what} lies within the seeds\u2019 noise of {bar}"


def unfairness(baseline: RunRecord, distilled: RunRecord) -> list[str]:
    """Return a sentence for each thing that must be equal in a fair comparison and is not."""
    sentences = []
    for key in MUST_BE_EQUAL:
        ours, theirs = getattr(distilled, key), getattr(baseline, key)
        if ours == theirs:
            continue
        if key == "data":
            parts = sorted(k for k in {*ours, *theirs} if ours.get(k) != theirs.get(k))
            for part in parts:
                sentences.append(
                    f"data.{part}: {distilled.name} {ours.get(part)!r}, "
                    f"{baseline.name} {theirs.get(part)!r}"
                )
        else:
            sentences.append(f"{key}: {distilled.name} {ours!r}, {baseline.name} {theirs!r}")
    return sentences


def _judge(
    metric: Metric,
    baseline: RunRecord,
    distilled: RunRecord,
    teacher: RunRecord | None,
    spread: dict[str, Any] | None,
    unfair: bool,
) -> dict[str, Any]:
    before, after = metric.read(baseline.result), metric.read(distilled.result)
    top = metric.read(teacher.result) if teacher else None
    gain = None if before is None or after is None else after - before
    verdict, reason = _verdict(metric, gain, spread, unfair)
    kept = top if metric.higher else None  # a share of an error means nothing
    return {
        "key": metric.key,
        "label": metric.label,
        "teacher": top,
        "baseline": before,
        "distilled": after,
        "gain": gain,
        "retention_baseline": before / kept if kept and before is not None else None,
        "retention_distilled": after / kept if kept and after is not None else None,
        "spread": spread,
        "threshold": None if spread is None else VERDICT_SDS * spread["sd"],
        "verdict": verdict,
        "reason": reason,
    }


def _verdict(
    metric: Metric, gain: float | None, spread: dict[str, Any] | None, unfair: bool
) -> tuple[str, str]:
    if gain is None:
        return "not comparable", "one of the runs lacks this metric"
    if unfair:
        return "not comparable", "the two runs did not have the same budget, data or seed"
    if spread is None:
        return "no evidence", "one seed, and no seed-to-seed spread is stated for this metric"
    threshold = VERDICT_SDS * spread["sd"]
    shown = metric.show(threshold)
    bar = f"\u00b1{shown} ({VERDICT_SDS:g} SD of the gain over {spread['n']} seeds)"
    if abs(gain) <= threshold:
        return "no evidence", f"within {bar}"
    return ("gain" if (gain > 0) == metric.higher else "loss"), f"beyond {bar}"
