"""Make what the LiDAR evidence needs: simulated data in three splits, and certified teachers.

Usage: python benchmarks/lidar/prepare.py [--out work_dirs/lidar] [--teachers teacher teacher20]
       python benchmarks/lidar/prepare.py --teachers families/second_teacher ...

Runs what is missing, so it can be stopped and continued. ``kitti_infos_tune.pkl`` holds the first
100 frames of KITTI's validation split, on which weights are chosen; ``kitti_infos_held.pkl`` the
200 others, on which results are measured once.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from mmengine import dump, load

from kd3d.data.kitti_prepare import prepare_kitti
from kd3d.data.simulated import simulated_facts
from kd3d.engine.experiment import run_config, teacher_run
from kd3d.engine.steps import Steps, fingerprint
from kd3d.simulation.kitti import simulate_kitti

CONFIGS = Path(__file__).parent / "configs"
FRAMES, VAL_SHARE, TUNE, SEED = 620, 0.4839, 100, 11


def main() -> None:
    """Make data and teachers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("work_dirs/lidar"))
    parser.add_argument("--teachers", nargs="+", default=["teacher", "teacher20"])
    arguments = parser.parse_args()
    data = arguments.out / "data"
    key = fingerprint(FRAMES, VAL_SHARE, TUNE, SEED)
    Steps(arguments.out).run("data", key, [data / "kitti_infos_held.pkl"], lambda: make_data(data))
    for name in arguments.teachers:
        config = run_config(str(CONFIGS / f"{name}.py"), arguments.out / name, data, seed=0)
        key = fingerprint(config.pretty_text, data / "kitti_infos_held.pkl")
        folder = (
            arguments.out / name
        )  # with its own list of steps: teachers may be made side by side
        make = partial(teacher_run, config, simulated_facts(data, "held"))
        Steps(folder).run("teacher", key, [folder / "student.pth"], make)


def make_data(data: Path) -> None:
    """Simulate, prepare, and part the validation split in two."""
    simulate_kitti(data, FRAMES, SEED, val_share=VAL_SHARE)
    prepare_kitti(data)
    infos = load(data / "kitti_infos_val.pkl")
    parts = {"tune": slice(TUNE), "held": slice(TUNE, None)}
    for name, part in parts.items():
        dump({**infos, "data_list": infos["data_list"][part]}, data / f"kitti_infos_{name}.pkl")


if __name__ == "__main__":
    main()
