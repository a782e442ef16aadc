"""Make what the camera evidence needs: simulated drives, first weights, certified teachers.

Usage: python benchmarks/camera/prepare.py [--out work_dirs/camera] [--models images ...]

Runs what is missing, so it can be stopped and continued. ``data`` has 120 drives for training and
40 on which results are measured once; methods and weights are chosen on the validation drives of
``tune``, another simulation.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from kd3d.data.nuscenes_prepare import prepare_nuscenes
from kd3d.data.simulated import simulated_facts
from kd3d.engine.experiment import run_config, teacher_run, train_run
from kd3d.engine.steps import Steps, fingerprint
from kd3d.simulation.nuscenes import simulate_nuscenes

CONFIGS = Path(__file__).parent / "configs"
SAMPLES, SWEEPS, VERSION = 5, 2, "v1.0-trainval"
IMAGES, TEACHERS = "images", ["lidar_teacher", "shared_lidar", "fusion_teacher"]
DATA = {"data": {"scenes": 160, "seed": 33}, "tune": {"scenes": 64, "seed": 34}}


def main() -> None:
    """Make data, the images' first weights and teachers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("work_dirs/camera"))
    parser.add_argument("--models", nargs="+", default=[IMAGES, *TEACHERS])
    arguments = parser.parse_args()
    for name, made in DATA.items():
        folder = arguments.out / name
        done = [folder / "nuscenes_infos_val.pkl"]
        key = fingerprint(SAMPLES, SWEEPS, VERSION, made)
        Steps(arguments.out).run(name, key, done, partial(make_data, folder, **made))
    data = arguments.out / "data"
    for name in arguments.models:
        folder = arguments.out / name
        config = run_config(str(CONFIGS / f"{name}.py"), folder, data, seed=0)
        key = fingerprint(config.pretty_text, data / "nuscenes_infos_val.pkl")
        facts = simulated_facts(data)
        make = partial(train_run, config) if name == IMAGES else partial(teacher_run, config, facts)
        Steps(folder).run(name, key, [folder / "student.pth"], make)


def make_data(folder: Path, scenes: int, seed: int) -> None:
    """Simulate drives and prepare them."""
    simulate_nuscenes(folder, scenes, SAMPLES, seed, SWEEPS, overwrite=True, version=VERSION)
    prepare_nuscenes(folder, VERSION, sweeps=SWEEPS)


if __name__ == "__main__":
    main()
