"""A sweep of one-step trainings on a tiny data set, and records made up for the arithmetic."""

from pathlib import Path

import torch
import yaml

from kd3d.models.source import build_detector
from kd3d.report.record import RunRecord
from tests.engine.tiny import prepared

QUICK = {
    "train_cfg.max_epochs": 1,
    "param_scheduler.total_steps": 1,
    "default_hooks.checkpoint.interval": 1,
    "default_hooks.logger.interval": 2,  # the last of three steps is not logged
    "train_dataloader.batch_size": 1,
    "test_dataloader.dataset.ann_file": "kitti_infos_train.pkl",
}


def sweep_file(
    root: Path,
    out: Path | None = None,
    seeds=(0, 1),
    epochs=1,
    lr=None,
    config="kd3d::demo/baseline.py",
    teacher_file=None,
    student=None,
    data=None,
    option=None,
    timed=False,
    arms=("plain", "taught", "broken"),
) -> Path:
    """Write a sweep file and return it; the data set and a teacher are made at the first call.

    Its arms are ``plain``, ``taught``, ``broken`` (an argument the optimizer does not know, which
    shows when the training starts) and, with `timed`, ``longer``.
    """
    kitti, weights = root / "kitti", root / "teacher.pth"
    if not kitti.is_dir():
        prepared(kitti)
        teacher = build_detector(dict(config="kd3d::demo/teacher.py"))
        torch.save({"state_dict": teacher.state_dict()}, weights)
    options = {**QUICK, "train_cfg.max_epochs": epochs, "param_scheduler.total_steps": epochs}
    if lr is not None:
        options["optim_wrapper.optimizer.lr"] = lr
    if option is not None:
        options[option] = "x"
    teaching = {
        "model.teachers.teacher.checkpoint": str(teacher_file or weights),
        "model.teachers.teacher.allow_uncertified": True,
    }
    known = {
        "plain": {"config": config},
        "taught": {
            "config": "kd3d::demo/distilled.py",
            "options": teaching,
            "method": {"type": "fitnets", "weight": 0.5},
        },
        "broken": {"config": config, "options": {"optim_wrapper.optimizer.rate": 1}},
    }
    chosen = {name: known[name] for name in arms}
    if timed:
        chosen["longer"] = {"budget": {"like": "taught"}}
    content = {
        "data_root": str(data or kitti),
        "out": str(out or root / "out"),
        "seeds": list(seeds),
        "students": {"half": student or {"shrink": {"width": 0.5, "depth": 0.34}}},
        "options": options,
        "arms": chosen,
    }
    path = root / "sweep.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def record(name="plain/half/seed0", ap=50.0, role="baseline", seed=0, **values) -> RunRecord:
    """Return a record with one AP everywhere."""
    sets = {"strict": [ap] * 3, "loose": [ap] * 3}
    known = dict(
        name=name,
        role=role,
        seed=seed,
        result={"Car": {metric: {"AP40": sets} for metric in ("3D", "BEV")}},
        data={"root": "data", "simulated": True, "split": "val"},
        iterations=100,
        batch_size=4,
        step_time_s=0.2,
        wall_time_s={"train": 20.0, "test": 5.0},
        extra={"peak_memory_mb": 900.0, "sweep_key": "k"},
    )
    return RunRecord(**{**known, **values})
