"""Bring finished sweeps into the repository: run records, and tables of them.

Usage: python benchmarks/lidar/collect.py [screen leading ...]

Reads work_dirs/lidar/<sweep>, writes ``records/<sweep>.json`` (sweep.json and every run's record,
of its results 3D and BEV AP40) and puts the tables of all collected sweeps into ``results.md``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from kd3d.sweep.collected import PLUS_MINUS, collect

FAMILIES = ("pointpillars", "second", "voxel")
TEACHERS = ["teacher", "teacher20", *[f"families/{family}_teacher" for family in FAMILIES]]
ABOUT = f"""# Results on simulated KITTI

All data are simulated. AP40, moderate, in percent; mean {PLUS_MINUS} standard error over seeds;
overlaps 0.7 (car) and 0.5, but for "car 3D, 0.5". Gains are paired by seed, with their 95 %
interval (Student's t); bold: a gain of more than two standard errors. Step: median seconds of a
training step, with one thread, two runs at a time on two cores. Memory: peak of the process. Made
by `python benchmarks/lidar/collect.py`; every number, with commit, machine, hashes and wall time of
every run, is in [records](records).
"""

if __name__ == "__main__":
    collect(Path(__file__).parent, Path("work_dirs/lidar"), ABOUT, sys.argv[1:], TEACHERS)
