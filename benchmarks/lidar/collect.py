"""Bring finished sweeps into the repository: run records, and tables of them.

Usage: python benchmarks/lidar/collect.py [screen leading ...]

Reads work_dirs/lidar/<sweep>, writes ``records/<sweep>.json`` (sweep.json and every run's record,
of its results 3D and BEV AP40) and puts the tables of all collected sweeps into ``results.md``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from kd3d.fileio import read_json, write_json, write_text
from kd3d.report.record import RECORD_FILE
from kd3d.sweep.collected import PLUS_MINUS, brief, collected, run_table, sweep_tables

HERE = Path(__file__).parent
RECORDS, PAGE, WORK = HERE / "records", HERE / "results.md", Path("work_dirs/lidar")
TEACHERS = HERE / "teachers.json"
FAMILIES = ("pointpillars", "second", "voxel")
ABOUT = """# Results on simulated KITTI

All data are simulated. AP40, moderate, in percent; mean {pm} standard error over seeds; overlaps
0.7 (car) and 0.5, but for "car 3D, 0.5". Gains are paired by seed, with their 95 % interval
(Student's t); bold: a gain of more than two standard errors. Step: median seconds of a training
step, with one thread, two runs at a time on two cores. Memory: peak of the process. Made by
`python benchmarks/lidar/collect.py`; every number, with commit, machine, hashes and wall time of
every run, is in [records](records).
"""


def main() -> None:
    """Collect the named sweeps and write the page about all there are."""
    for name in sys.argv[1:]:
        write_json(RECORDS / f"{name}.json", collected(WORK / name))
    names = ["teacher", "teacher20", *[f"families/{family}_teacher" for family in FAMILIES]]
    made = [WORK / name / RECORD_FILE for name in names]
    if all(path.is_file() for path in made):
        write_json(TEACHERS, [brief(read_json(path)) for path in made])
    parts = [ABOUT.format(pm=PLUS_MINUS), "## teachers\n" + run_table(read_json(TEACHERS))]
    parts += [sweep_tables(path.stem, read_json(path)) for path in sorted(RECORDS.glob("*.json"))]
    write_text(PAGE, "\n".join(parts))


if __name__ == "__main__":
    main()
