"""Depth errors of the students of a finished sweep: depth.json and depth.md.

Usage: python benchmarks/camera/depth.py [leading]

Runs `kd3d eval depth` on every run, on the held drives; all data are simulated. What a run has
beside it already (depth.json) is kept.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from kd3d.engine.depth_run import measure_depth
from kd3d.engine.runner import load_config
from kd3d.fileio import read_json, write_json, write_text
from kd3d.report.statistics import spread
from kd3d.sweep.collected import PLUS_MINUS, table_head, table_line
from kd3d.sweep.runs import DONE

HERE, WORK = Path(__file__).parent, Path("work_dirs/camera")
SHOWN = {"abs_rel": "abs rel", "mae_m": "MAE (m)", "rmse_m": "RMSE (m)", "close": "within 1.25"}
GROUPS = {"all": "all cells", "objects": "objects"}


def main(name: str) -> None:
    """Measure all runs and write both files."""
    sweep = read_json(WORK / name / "sweep.json")
    found: dict[str, list[dict[str, Any]]] = {}
    for run in sweep["runs"]:
        if run["state"] == DONE:
            values = of_run(Path(run["folder"]))
            found.setdefault(run["arm"], []).append({"seed": run["seed"], **values})
    write_json(HERE / "depth.json", {"sweep": name, "arms": found})
    columns = [(group, key) for group in GROUPS for key in SHOWN]
    heads = [f"{GROUPS[group]}: {SHOWN[key]}" for group, key in columns]
    lines = [
        "# Depth at which the students lift, against the LiDAR's\n",
        "Simulated data, the held drives; mean ± standard error over seeds. Made by "
        f"`python benchmarks/camera/depth.py {name}`; see `kd3d eval depth` for the measures.\n",
        *table_head(["arm", "seeds", *heads]),
    ]
    for arm, rows in found.items():
        cells = [shown([row[group][key] for row in rows]) for group, key in columns]
        lines.append(table_line([arm, len(rows), *cells]))
    write_text(HERE / "depth.md", "\n".join(lines) + "\n")


def of_run(folder: Path) -> dict[str, Any]:
    """Return a run's depth errors, measured once."""
    kept = folder / "depth.json"
    if not kept.is_file():
        write_json(kept, measure_depth(load_config(folder / "config.py"), folder / "student.pth"))
    return read_json(kept)


def shown(values: list[float]) -> str:
    """Return mean and standard error."""
    found = spread(values)
    error = "" if found["se"] is None else f" {PLUS_MINUS} {found['se']:.3f}"
    return f"{found['mean']:.3f}{error}"


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["leading"]))
