"""The main job from nothing: data, teacher, baseline, distilled student, verdict, on two cores."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import kd3d
from kd3d.console import say
from kd3d.engine.experiment import certify, record_run, run_config, test_run, train_run
from kd3d.engine.steps import Steps, fingerprint
from kd3d.errors import UserError
from kd3d.fileio import read_json

CONFIGS = Path(kd3d.__file__).parents[1] / "configs" / "demo"
MINIMUM = {"Car_3D_AP40_moderate_loose": 30.0}
METHOD = "response+fitnets"
SPREAD = Path(kd3d.__file__).parents[1] / "benchmarks" / "demo" / "spread.json"


def run_demo(
    out: Path,
    frames: int = 500,
    seed: int = 0,
    data_seed: int = 0,
    options: list[str] | None = None,
    minimum: dict[str, float] | None = None,
) -> Path:
    """Run (or continue) the demo and return the report's path.

    Args:
        out: Work folder; data go to ``<out>/data``.
        frames: Simulated frames, three fifths of them for training.
        seed: Of the models: initialisation, data order and augmentation.
        data_seed: Of the simulated data.
        options: Config overrides for all three trainings.
        minimum: Metric -> lowest teacher score; default `MINIMUM`.

    Raises:
        UserError: The evaluator does not give the labels their full score, or the teacher is below
            the minimum.
    """
    minimum = MINIMUM if minimum is None else minimum
    started = time.monotonic()
    steps = Steps(out)
    data = out / "data"
    data_key = _make_data(steps, data, frames, data_seed)
    facts = {
        "root": str(data),
        "simulated": True,
        "split": "val",
        "train_split": "train",
        "frames": frames,
        "data_seed": data_seed,
    }
    runs = {
        name: run_config(str(CONFIGS / f"{name}.py"), out / name, data, seed, options)
        for name in ("teacher", "baseline", "distilled")
    }
    runs["distilled"].model.teachers.teacher.checkpoint = str(out / "teacher" / "student.pth")
    runs["distilled"].model.teachers.teacher.minimum = minimum
    key = _train_and_test(steps, runs["teacher"], data_key, "teacher", None, facts)
    steps.run(
        "certify the teacher",
        key,
        [out / "teacher" / "student.pth.certificate.json"],
        lambda: _certify(runs["teacher"], facts, minimum, data),
    )
    from kd3d.teachers.certificate import check_certificate

    check_certificate(out / "teacher" / "student.pth", minimum, required=True)
    _train_and_test(steps, runs["baseline"], data_key, "baseline", None, facts)
    _train_and_test(
        steps, runs["distilled"], fingerprint(data_key, key), "distilled", METHOD, facts
    )
    report = out / "report.html"
    _report(out, list(runs), report)
    say(f"the demo took {time.monotonic() - started:.0f} s; all data are simulated")
    return report


def _make_data(steps: Steps, data: Path, frames: int, seed: int) -> str:
    from kd3d.data.kitti_prepare import prepare_kitti
    from kd3d.simulation.kitti import simulate_kitti

    key = fingerprint(kd3d.__version__, frames, seed)
    steps.run(
        "simulate KITTI frames",
        key,
        [data / "training"],
        lambda: simulate_kitti(data, frames, seed, overwrite=True),
    )
    steps.run(
        "prepare them for mmdet3d",
        key,
        [data / "kitti_infos_train.pkl"],
        lambda: prepare_kitti(data),
    )
    return key


def _train_and_test(
    steps: Steps, config: Any, upstream: str, role: str, method: str | None, facts: dict[str, Any]
) -> str:
    """Train, test and record one run; return the key its result stands for."""
    folder = Path(config.work_dir)
    key = fingerprint(upstream, config.to_dict())
    steps.run(f"train the {role}", key, [folder / "student.pth"], lambda: train_run(config), folder)

    def finish() -> None:
        test_run(config)
        record_run(config, role, method, facts)

    steps.run(f"test the {role}", key, [folder / "record.json"], finish)
    return key


def _certify(config: Any, facts: dict[str, Any], minimum: dict[str, float], data: Path) -> None:
    """Check the evaluator on the labels themselves, then write the teacher's certificate."""
    from kd3d.data.kitti_files import read_label_dir
    from kd3d.evaluation.kitti_selfcheck import self_check

    names = (data / "ImageSets" / "val.txt").read_text().split()
    check = self_check(list(read_label_dir(data / "training" / "label_2", names).values()))
    if not check["ok"]:
        raise UserError(f"labels as predictions do not score 100: {check['failures'][0]}", data)
    metrics = read_json(Path(config.work_dir) / "metrics.json")["metrics"]
    certify(config, metrics, facts)
    shown = ", ".join(
        f"{name} = {metrics[name]:.1f} (minimum {low:g})" for name, low in minimum.items()
    )
    say(f"    labels as predictions score in full; teacher: {shown}")


def _report(out: Path, names: list[str], report: Path) -> None:
    from kd3d.report.page import write_report

    spread = read_json(SPREAD)["gain_spread"] if SPREAD.is_file() else None
    write_report(
        [out / name for name in names],
        report,
        "Distilling a compact LiDAR detector: demo",
        spread=spread,
        data_root=out / "data",
    )
    for comparison in read_json(report.with_suffix(".json"))["comparisons"]:
        say(f"    {comparison['headline']}")
