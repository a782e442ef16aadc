"""One run of an experiment: train, test, measure, and leave a record."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from kd3d.data.wrapped import innermost, layers
from kd3d.engine import provenance
from kd3d.engine.inherited import inherited
from kd3d.engine.register import register_all
from kd3d.engine.runner import TRAINED_FILE, load_config, load_student, test, train
from kd3d.engine.steps import fingerprint
from kd3d.errors import UserError
from kd3d.evaluation.efficiency import measure
from kd3d.fileio import read_json, write_json, write_text
from kd3d.models.source import build_detector, resolve_detector
from kd3d.report.benchmarks import BENCHMARKS, Benchmark
from kd3d.report.record import PREDICTIONS, SCALARS_FILE, RunRecord
from kd3d.report.scenes.nuscenes import RESULT_FILE
from kd3d.teachers.certificate import certificate_path, file_sha256

TIMED_FRAMES = 30
EVALUATORS = {"KittiAP": "kitti", "NuScenesAP": "nuscenes"}


def run_config(
    path: str, folder: Path, data_root: Path, seed: int, options: list[str] | None = None
) -> Config:
    """Return the config of one run: its data, its seed, its folder, and a quiet console."""
    config = load_config(path, options, str(folder), data_root)
    config.randomness = dict(seed=seed)
    config.quiet = folder.name
    return config


def train_run(config: Config) -> float:
    """Train (or continue) a run and return the seconds this call took.

    Raises:
        UserError: The config has stages, of which a record cannot tell.
    """
    if config.get("stages"):
        raise UserError(
            "a run of a sweep or demo is one training, this config has stages",
            config.filename,
            "train it with kd3d train, or set stages=None",
        )
    started = time.monotonic()
    train(config, resume=True)
    seconds = time.monotonic() - started
    path = Path(config.work_dir) / "train_time.json"
    before = read_json(path)["seconds"] if path.is_file() else 0.0
    write_json(path, {"seconds": before + seconds})
    _merge_scalars(Path(config.work_dir))
    return seconds


def test_run(config: Config) -> dict[str, float]:
    """Evaluate a run's student; leave ``predictions/`` and ``result.json``."""
    folder = Path(config.work_dir)
    shutil.rmtree(folder / PREDICTIONS, ignore_errors=True)
    config = config.copy()
    outputs = _outputs(folder)[benchmark_of_config(config).name]
    config.test_evaluator = dict(config.test_evaluator, **outputs)
    started = time.monotonic()
    metrics = test(config, folder / "student.pth")
    seconds = time.monotonic() - started
    write_json(folder / "metrics.json", {"metrics": metrics, "seconds": seconds})
    return metrics


def benchmark_of_config(config: Config) -> Benchmark:
    """Return the benchmark that a config's students are measured on.

    Raises:
        UserError: Its evaluator is none of kd3d's.
    """
    evaluator = config.test_evaluator
    kind = evaluator.get("type") if isinstance(evaluator, dict) else None
    if kind not in EVALUATORS:
        raise UserError(
            f"test_evaluator is {kind or evaluator!r}", config.filename,
            f"runs are compared by one of {', '.join(EVALUATORS)}",
        )  # fmt: skip
    return BENCHMARKS[EVALUATORS[kind]]


def _outputs(folder: Path) -> dict[str, dict[str, str]]:
    """Return what each benchmark's evaluator is told to leave in a run's folder."""
    result = {"json_file": str(folder / "result.json")}
    return {
        "kitti": {"prediction_dir": str(folder / PREDICTIONS), **result},
        "nuscenes": {"result_file": str(folder / PREDICTIONS / RESULT_FILE), **result},
    }


def record_run(
    config: Config,
    role: str,
    method: str | None,
    data: dict[str, Any],
    budget_note: str | None = None,
) -> RunRecord:
    """Measure the run's cost and write its ``record.json``."""
    folder = Path(config.work_dir)
    student = folder / "student.pth"
    text = config.pretty_text
    log = [json.loads(line) for line in (folder / SCALARS_FILE).read_text().splitlines()]
    steps = sorted(row["time"] for row in log if "time" in row)
    record = RunRecord(
        name=folder.name,
        role=role,
        method=method,
        config=config.filename,
        seed=config.randomness["seed"],
        config_text_sha256=hashlib.sha256(text.encode()).hexdigest(),
        data=data,
        result=read_json(folder / "result.json"),
        iterations=read_json(folder / TRAINED_FILE)["iterations"],
        batch_size=config.train_dataloader.batch_size,
        wall_time_s={
            "train": read_json(folder / "train_time.json")["seconds"],
            "test": read_json(folder / "metrics.json")["seconds"],
        },
        step_time_s=steps[len(steps) // 2] if steps else None,
        checkpoint_bytes=student.stat().st_size,
        checkpoint_sha256=file_sha256(student),
        started=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        supervision=supervision(config),
        recipe=recipe(config),
        teacher=_certificate(config),
        budget_note=budget_note,
        extra=inherited(folder),
        **provenance.origin(),
        **_cost(config),
    )
    write_text(folder / "config.py", text)
    record.save(folder)
    return record


def recipe(config: Config) -> dict[str, str]:
    """Return hashes of what must be equal in fair comparisons beside the data and the budget."""
    model = resolve_detector(config.model.student)
    parts = {
        "train_pipeline": innermost(config.train_dataloader.dataset).get("pipeline"),
        "test_pipeline": innermost(config.test_dataloader.dataset).get("pipeline"),
        "test_cfg": model.get("test_cfg"),
        "test_time_augmentation": config.get("tta_model"),
        "optimizer": config.optim_wrapper,
    }
    return {name: fingerprint(part) for name, part in parts.items()}


def teacher_run(config: Config, facts: dict[str, Any]) -> RunRecord:
    """Train, test, record and certify a teacher; `facts` are what the record says of the data."""
    from kd3d.engine.certify import certify

    train_run(config)
    test_run(config)
    record = record_run(config, "teacher", None, facts)
    certify(config, Path(config.work_dir) / "student.pth", facts=facts)
    return record


def supervision(config: Config) -> str:
    """Return what of the training split a training learns from; teachers add nothing to it."""
    depth = resolve_detector(config.model.student).get("depth_loss")
    return _labels(config) + (", depth of LiDAR points" if depth else "")


def _labels(config: Config) -> str:
    for dataset in layers(config.train_dataloader.dataset):
        if dataset["type"] == "PartlyLabelled":
            chosen = dataset["labelled"]
            which = f"{chosen} frames, seed {dataset.get('seed', 0)}"
            if not isinstance(chosen, int):
                which = chosen if isinstance(chosen, str) else f"{len(chosen)} named frames"
            return f"3D boxes of some of the training split: {which}"
    return "3D boxes of the training split"


def _cost(config: Config) -> dict[str, Any]:
    """Return params, macs and latency of the student on frames of the test set."""
    from mmdet3d.registry import DATASETS

    register_all()
    model = build_detector(config.model.student)
    load_student(model, Path(config.work_dir) / "student.pth")
    dataset = DATASETS.build(config.test_dataloader.dataset)
    frames = [pseudo_collate([dataset[i]]) for i in range(min(TIMED_FRAMES, len(dataset)))]
    return measure(model, frames)


def _certificate(config: Config) -> dict[str, Any] | None:
    for teacher in (config.model.get("teachers") or {}).values():
        path = certificate_path(teacher.checkpoint)
        if path.is_file():
            return read_json(path)
    return None


def _merge_scalars(folder: Path) -> None:
    """Join the logs of all calls that trained this run; the last value of a step counts."""
    rows: dict[int, str] = {}
    for path in sorted(folder.glob("*/vis_data/scalars.json")):
        for line in path.read_text().splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:  # the last line of a run that was killed
                continue
            if "loss" in row:
                rows[row["step"]] = line
    write_text(folder / SCALARS_FILE, "".join(rows[step] + "\n" for step in sorted(rows)))
