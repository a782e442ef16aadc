"""nuScenes: NDS, mAP and the five errors, as `kd3d.evaluation.nuscenes_score` gives them."""

from __future__ import annotations

from functools import partial

from kd3d.data.nuscenes_tables import ERRORS
from kd3d.errors import UserError
from kd3d.report.benchmarks.benchmark import Benchmark, Metric, Result
from kd3d.report.benchmarks.values import as_object, is_number

UNITS = {"mATE": "m", "mAOE": "rad", "mAVE": "m/s"}  # the others are shares
DISTANCES = ("0.5", "1.0", "2.0", "4.0")


def classes(result: Result) -> list[str]:
    """Return the detection classes in the devkit's order."""
    return list(result["mean_dist_aps"])


def class_ap(result: Result, name: str, distance: str | None = None) -> float | None:
    """Return a class's AP in percent, at a centre distance in metres or their mean."""
    if distance is None:
        value = result["mean_dist_aps"].get(name)
    else:
        value = result.get("label_aps", {}).get(name, {}).get(distance)
    return None if value is None else 100 * value


def _score(key: str, result: Result) -> float:
    return 100 * float(result[key])


def _error(key: str, result: Result) -> float | None:
    return result["tp_errors"].get(key)


def validate(result: Result) -> None:
    """Refuse what is no result of `kd3d.evaluation.nuscenes_score.evaluate_nuscenes`."""
    for key in ("nd_score", "mean_ap"):
        value = result.get(key)
        if not is_number(value) or not 0 <= value <= 1:  # type: ignore[operator]
            raise UserError(f"result.{key} is {value!r}, wanted a number from 0 to 1")
    for key in ("mean_dist_aps", "tp_errors"):
        values = as_object(result.get(key), f"result.{key}", "it holds a number for each name")
        for name, value in values.items():
            if value is not None and not is_number(value):
                raise UserError(f"result.{key}.{name} is {value!r}, wanted a number")
    if not classes(result):
        raise UserError("result.mean_dist_aps holds no class")


def brief(result: Result) -> Result:
    """Return the scores, and the classes' AP and errors, without distances."""
    kept = (
        "nd_score", "mean_ap", "tp_errors", "mean_dist_aps", "label_tp_errors", "boxes", "notes"
    )  # fmt: skip
    return {key: result[key] for key in kept if key in result}


NUSCENES = Benchmark(
    name="nuscenes",
    title="nuScenes",
    metrics=(
        Metric("nds", "NDS", partial(_score, "nd_score"), unit="points"),
        Metric("map", "mAP", partial(_score, "mean_ap"), unit="points"),
        *(
            Metric(short.lower(), short, partial(_error, name), False, UNITS.get(short, ""), 3)
            for name, short in ERRORS.items()
        ),
    ),
    rule="NDS and mAP of the official devkit (detection_cvpr_2019), in percent; mAP over centre "
    "distances of 0.5, 1, 2 and 4 m. Errors of true positives within 2 m: mATE in metres, mASE "
    "1 \u2212 IoU of the sizes, mAOE in radians, mAVE in m/s, mAAE 1 \u2212 accuracy of the "
    "attribute; lower is better.",
    detail="",
    layout="nuScenes",
    class_score=("AP", class_ap),
    classes=classes,
    validate=validate,
    brief=brief,
)
