"""The main job from nothing: data, teacher, baseline, distilled student, verdict, on two cores."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import kd3d
from kd3d.console import say
from kd3d.engine.certify import certify
from kd3d.engine.experiment import record_run, run_config, test_run, train_run
from kd3d.engine.steps import Steps, fingerprint
from kd3d.errors import UserError
from kd3d.fileio import read_json
from kd3d.models.source import resolve_detector
from kd3d.report.record import RunRecord
from kd3d.teachers.certificate import certificate_path, check_certificate, file_sha256

CONFIGS = Path(kd3d.__file__).parents[1] / "configs" / "demo"
MINIMUM = {"Car_3D_AP40_moderate_loose": 30.0}
VAL_SHARE = 0.375
METHOD = "response+fitnets"
SPREAD = Path(kd3d.__file__).parents[1] / "benchmarks" / "demo" / "spread.json"


def run_demo(
    out: Path,
    frames: int = 288,
    seed: int = 0,
    data_seed: int = 0,
    options: list[str] | None = None,
    minimum: dict[str, float] | None = None,
) -> Path:
    """Run (or continue) the demo and return the report's path.

    Args:
        out: Work folder; data go to ``<out>/data``.
        frames: Simulated frames, five eighths of them for training.
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
    facts = _make_data(steps, out / "data", frames, data_seed)
    teacher = _config("teacher", out, facts, seed, options)
    key = _train_and_test(steps, teacher, facts, "teacher", None)
    weights = out / "teacher" / "student.pth"
    steps.run(
        "certify the teacher",
        fingerprint(key, minimum, out / "teacher" / "metrics.json"),
        [certificate_path(weights)],
        lambda: _certify(teacher, facts, minimum),
    )
    check_certificate(weights, minimum, required=True)
    run_students(out, out, seed, options)
    report = out / "report.html"
    _report(out, report)
    say(f"the demo took {time.monotonic() - started:.0f} s; all data are simulated")
    return report


def run_students(demo: Path, out: Path, seed: int, options: list[str] | None = None) -> None:
    """Train and test the baseline and the distilled student of one seed.

    Args:
        demo: The demo's work folder, with data and a certified teacher.
        out: Where the two runs go.
        seed: Of the students.
        options: Config overrides.
    """
    facts = RunRecord.load(demo / "teacher").data
    teacher = demo / "teacher" / "student.pth"
    steps = Steps(out)
    _train_and_test(steps, _config("baseline", out, facts, seed, options), facts, "baseline", None)
    distilled = _config("distilled", out, facts, seed, options)
    distilled.model.teachers.teacher.checkpoint = str(teacher)
    _train_and_test(steps, distilled, facts, "distilled", METHOD, file_sha256(teacher))


def _config(
    name: str, out: Path, facts: dict[str, Any], seed: int, options: list[str] | None
) -> Any:
    return run_config(str(CONFIGS / f"{name}.py"), out / name, Path(facts["root"]), seed, options)


def _make_data(steps: Steps, data: Path, frames: int, seed: int) -> dict[str, Any]:
    """Simulate and prepare the data; return the facts that records state about them."""
    from kd3d.data.kitti_prepare import prepare_kitti
    from kd3d.simulation.kitti import simulate_kitti

    key = fingerprint(kd3d.__version__, frames, seed)
    steps.run(
        "simulate KITTI frames",
        key,
        [data / "training"],
        lambda: simulate_kitti(data, frames, seed, val_share=VAL_SHARE, overwrite=True),
    )
    steps.run(
        "prepare them for mmdet3d",
        key,
        [data / "kitti_infos_train.pkl"],
        lambda: prepare_kitti(data),
    )
    return {
        "root": str(data),
        "simulated": True,
        "split": "val",
        "train_split": "train",
        "frames": len((data / "ImageSets" / "val.txt").read_text().split()),
        "train_frames": len((data / "ImageSets" / "train.txt").read_text().split()),
        "data_seed": seed,
    }


def _train_and_test(
    steps: Steps,
    config: Any,
    facts: dict[str, Any],
    role: str,
    method: str | None,
    teacher_hash: str | None = None,
) -> str:
    """Train, test and record one run; return the key its result stands for."""
    folder = Path(config.work_dir)
    model = resolve_detector(config.model.student)
    key = fingerprint(facts, config.to_dict(), model, teacher_hash)
    steps.run(f"train the {role}", key, [folder / "student.pth"], lambda: train_run(config), folder)

    def finish() -> None:
        test_run(config)
        record_run(config, role, method, facts)

    steps.run(f"test the {role}", key, [folder / "record.json"], finish)
    return key


def _certify(config: Any, facts: dict[str, Any], minimum: dict[str, float]) -> None:
    """Check the evaluator on the labels themselves, then write the teacher's certificate."""
    from kd3d.data.kitti_files import read_label_dir
    from kd3d.evaluation.kitti_selfcheck import self_check

    data = Path(facts["root"])
    names = (data / "ImageSets" / "val.txt").read_text().split()
    check = self_check(list(read_label_dir(data / "training" / "label_2", names).values()))
    if not check["ok"]:
        raise UserError(f"labels as predictions do not score 100: {check['failures'][0]}", data)
    metrics = certify(config, Path(config.work_dir) / "student.pth", minimum, facts)["metrics"]
    shown = ", ".join(
        f"{name} = {metrics[name]:.1f} (minimum {low:g})" for name, low in minimum.items()
    )
    say(f"    labels as predictions score in full; teacher: {shown}")


def _report(out: Path, report: Path) -> None:
    from kd3d.report.page import write_report

    spread = read_json(SPREAD)["gain_spread"] if SPREAD.is_file() else None
    write_report(
        [out / name for name in ("teacher", "baseline", "distilled")],
        report,
        "Distilling a compact LiDAR detector: demo",
        spread=spread,
        data_root=out / "data",
    )
    for comparison in read_json(report.with_suffix(".json"))["comparisons"]:
        say(f"    {comparison['headline']}")
