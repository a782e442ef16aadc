"""Bring finished sweeps into the repository: run records, and tables of them.

Usage: python benchmarks/camera/collect.py [shortage ...]

Reads work_dirs/camera/<sweep>, writes ``records/<sweep>.json`` (sweep.json and every run's record)
and puts the tables of all collected sweeps into ``results.md``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from kd3d.sweep.collected import PLUS_MINUS, collect

TEACHERS = ["lidar_teacher", "shared_lidar"]
ABOUT = f"""# Results on simulated nuScenes

All data are simulated. Scores of nuscenes-devkit: NDS and mAP in percent, the five errors as they
are (less is better); mean {PLUS_MINUS} standard error over seeds. Gains are paired by seed, with
their 95 % interval (Student's t); bold: better by more than two standard errors. Step: median
seconds of a training step, with one thread, two runs at a time on two cores. Memory: peak of the
process. Made by `python benchmarks/camera/collect.py`; every number, with commit, machine, hashes
and wall time of every run, is in [records](records). Sections `long_drives_*` are of other data
and another student, see README.md; their commands hold at commit ec59cc9.
"""

if __name__ == "__main__":
    collect(Path(__file__).parent, Path("work_dirs/camera"), ABOUT, sys.argv[1:], TEACHERS)
