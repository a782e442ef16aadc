"""A camera detector learns from a LiDAR detector, on simulated nuScenes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kd3d
from kd3d.data.simulated import simulated_facts
from kd3d.demo.task import ROOT, Task
from kd3d.engine.steps import Steps, fingerprint
from kd3d.errors import UserError

# short drives: streets and objects differ between them; three of four train, one is for validation
SAMPLES, SWEEPS, VERSION = 4, 2, "v1.0-trainval"


def make_data(steps: Steps, data: Path, frames: int, seed: int) -> dict[str, Any]:
    """Simulate and prepare drives, three quarters of them for training."""
    from kd3d.data.nuscenes_prepare import prepare_nuscenes
    from kd3d.simulation.nuscenes import simulate_nuscenes

    if frames % (4 * SAMPLES) or not 16 <= frames <= 2400:
        raise UserError(f"{frames} frames", "--frames", "give a multiple of 16 from 16 to 2400")
    key = fingerprint(kd3d.__version__, frames, seed)
    steps.run(
        "simulate nuScenes drives",
        key,
        [data / "samples"],
        lambda: simulate_nuscenes(
            data, frames // SAMPLES, SAMPLES, seed, SWEEPS, overwrite=True, version=VERSION
        ),
    )
    steps.run(
        "prepare them for mmdet3d",
        key,
        [data / "nuscenes_infos_train.pkl"],
        lambda: prepare_nuscenes(data, VERSION, SWEEPS),
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
    frames=240,
    minimum={"NDS": 0.15},
    spread=ROOT / "benchmarks" / "demo" / "camera_spread.json",
    make_data=make_data,
    check_labels=check_labels,
    images=True,
    at_once=2,
)
