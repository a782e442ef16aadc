"""KITTI: AP by class, overlap and difficulty, as `kd3d.evaluation.kitti_ap` gives it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kd3d.errors import UserError
from kd3d.report.benchmarks.benchmark import Benchmark, Metric, Result
from kd3d.report.benchmarks.values import as_object, is_number

DIFFICULTIES = ("easy", "moderate", "hard")
OVERLAPS = ("strict", "loose")
NOT_CLASSES = ("notes", "curves")


def classes(result: Result) -> list[str]:
    """Return the evaluated classes in the result's order."""
    return [key for key in result if key not in NOT_CLASSES]


def ap(
    result: Result, name: str, metric: str = "3D", difficulty: str = "moderate",
    overlap: str = "strict", kind: str = "AP40",
) -> float | None:  # fmt: skip
    """Return an AP in percent, or None where the result lacks it."""
    values = result.get(name, {}).get(metric, {}).get(kind, {}).get(overlap)
    return None if values is None else values[DIFFICULTIES.index(difficulty)]


def mean_ap(result: Result, metric: str = "3D", difficulty: str = "moderate") -> float | None:
    """Return the mean strict AP40 over the classes, or None where one lacks it."""
    values = [ap(result, name, metric, difficulty) for name in classes(result)]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def validate(result: Result) -> None:
    """Refuse what is no result of `kd3d.evaluation.kitti_ap.evaluate_kitti`."""
    if not classes(result):
        raise UserError("result holds no class")
    for name in classes(result):
        for metric, kinds in _object(result[name], f"result.{name}").items():
            where = f"result.{name}.{metric}"
            for kind, sets in _object(kinds, where).items():
                for overlap, values in _object(sets, f"{where}.{kind}").items():
                    _validate_aps(values, f"{where}.{kind}.{overlap}")


def _object(value: Any, where: str) -> dict[str, Any]:
    return as_object(value, where, "AP is at class, metric, AP40 or AP11, strict or loose")


def _validate_aps(values: Any, where: str) -> None:
    good = isinstance(values, list) and len(values) == len(DIFFICULTIES)
    if not good or not all(is_number(v) and 0 <= v <= 100.001 for v in values):
        raise UserError(
            f"{where} is {values!r}, wanted three APs (easy, moderate, hard) from 0 to 100"
        )


def brief(result: Result) -> Result:
    """Return 3D and BEV AP40 alone."""
    return {
        name: {metric: {"AP40": result[name][metric]["AP40"]} for metric in ("3D", "BEV")}
        for name in classes(result)
    }


def _metric(key: str, label: str, read: Callable[[Result], float | None], short: str) -> Metric:
    return Metric(key, label, read, unit="AP", short=short)


KITTI = Benchmark(
    name="kitti",
    title="KITTI",
    metrics=(
        _metric("car_3d_moderate", "Car 3D AP", lambda r: ap(r, "Car", "3D"), "car 3D"),
        _metric("car_bev_moderate", "Car BEV AP", lambda r: ap(r, "Car", "BEV"), "car BEV"),
        _metric(
            "car_3d_loose_moderate",
            "Car 3D AP, loose overlap",
            lambda r: ap(r, "Car", "3D", overlap="loose"),
            "car 3D, 0.5",
        ),
        _metric("mean_3d_moderate", "Mean 3D AP over classes", mean_ap, "mean 3D"),
        _metric(
            "mean_bev_moderate",
            "Mean BEV AP over classes",
            lambda r: mean_ap(r, "BEV"),
            "mean BEV",
        ),
    ),
    rule="AP: strict overlap, moderate, 40 recall points, in percent.",
    detail="moderate",
    layout="KITTI",
    class_score=("3D AP", lambda r, name: ap(r, name)),
    classes=classes,
    validate=validate,
    brief=brief,
)
