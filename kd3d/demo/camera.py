"""A camera detector learns from a LiDAR detector, on simulated nuScenes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kd3d
from kd3d.data.simulated import simulated_facts
from kd3d.demo.task import ROOT, Task
from kd3d.engine.steps import Steps, fingerprint
from kd3d.errors import UserError

SCENES, SWEEPS = 10, 2  # eight scenes train, two are for validation


def make_data(steps: Steps, data: Path, frames: int, seed: int) -> dict[str, Any]:
    """Simulate and prepare ten drives, eight of them for training."""
    from kd3d.data.nuscenes_prepare import prepare_nuscenes
    from kd3d.simulation.nuscenes import simulate_nuscenes

    samples = frames // SCENES
    if samples * SCENES != frames or not 2 <= samples <= 40:
        raise UserError(f"{frames} frames", "--frames", "give a multiple of ten from 20 to 400")
    key = fingerprint(kd3d.__version__, frames, seed)
    steps.run(
        "simulate nuScenes drives",
        key,
        [data / "samples"],
        lambda: simulate_nuscenes(data, SCENES, samples, seed, SWEEPS, overwrite=True),
    )
    steps.run(
        "prepare them for mmdet3d",
        key,
        [data / "nuscenes_infos_train.pkl"],
        lambda: prepare_nuscenes(data, sweeps=SWEEPS),
    )
    return simulated_facts(data)


def check_labels(config: Any) -> None:
    """Score the labels as predictions."""
    from kd3d.console import quiet_logs
    from kd3d.doctor import OK
    from kd3d.inspection.perfect import check_perfect

    with quiet_logs():
        verdict = check_perfect(config)
    if verdict.status != OK:
        raise UserError(f"labels as predictions: {verdict.detail}", config.data_root, verdict.fix)


CAMERA = Task(
    name="camera",
    title="Distilling LiDAR into a camera detector: demo",
    configs=ROOT / "configs" / "demo" / "camera",
    method="bevdistill",
    frames=160,
    minimum={"NDS": 0.15},
    spread=ROOT / "benchmarks" / "demo" / "camera_spread.json",
    make_data=make_data,
    check_labels=check_labels,
)
