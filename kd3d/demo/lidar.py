"""A compact LiDAR detector learns from a large one, on simulated KITTI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kd3d
from kd3d.data.simulated import simulated_facts
from kd3d.demo.task import ROOT, Task
from kd3d.engine.steps import Steps, fingerprint
from kd3d.errors import UserError

VAL_SHARE = 0.375


def make_data(steps: Steps, data: Path, frames: int, seed: int) -> dict[str, Any]:
    """Simulate and prepare KITTI frames, five eighths of them for training."""
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
    return simulated_facts(data)


def check_labels(config: Any) -> None:
    """Score the labels as predictions."""
    from kd3d.data.kitti_files import read_label_dir
    from kd3d.evaluation.kitti_selfcheck import self_check

    data = Path(config.data_root)
    names = (data / "ImageSets" / "val.txt").read_text().split()
    labels = read_label_dir(data / "training" / "label_2", names)
    check = self_check(list(labels.values()))
    if not check["ok"]:
        raise UserError(f"labels as predictions do not score 100: {check['failures'][0]}", data)


LIDAR = Task(
    name="lidar",
    title="Distilling a compact LiDAR detector: demo",
    configs=ROOT / "configs" / "demo",
    method="response+fitnets",
    frames=288,
    minimum={"Car_3D_AP40_moderate_loose": 30.0},
    spread=ROOT / "benchmarks" / "demo" / "spread.json",
    make_data=make_data,
    check_labels=check_labels,
)
