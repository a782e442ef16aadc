"""What our own benchmarks say of a method for students of some sensors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kd3d.catalogue.results import BENCHMARKS, measured
from kd3d.fileio import read_json

SLOW = 3.0  # step time over the baseline's
EQUAL = "iterations"  # the budget that arm and baseline have in common


@dataclass(frozen=True)
class Record:
    """The verdict of the benchmarks.

    Attributes:
        measured: ``seeds``, ``once``, ``mixed``, ``worse`` or ``none``; see ``rules.yaml``.
        step: ``slow`` or ``usual``.
        gain: Mean gain in the benchmark's own metric, of the arm with most seeds; None: none.
        where: Benchmark and arm of that gain.
    """

    measured: str = "none"
    step: str = "usual"
    gain: float | None = None
    where: str = ""


def record_of(method: str, sensors: str, folder: Path = BENCHMARKS) -> Record:
    """Return what was measured of a method alone, in benchmarks of the student's sensors.

    Args:
        method: Its name.
        sensors: ``lidar``, ``camera`` or ``lidar+camera``: benchmarks are folders of these names.
        folder: Of all benchmarks.
    """
    found = [
        entry
        for entry in measured(method, folder)
        if entry["methods"] == [method]
        and entry["equal"] == EQUAL
        and entry["benchmark"].split("/")[0] == sensors
    ]
    if not found:
        return Record()
    best = max(found, key=lambda entry: entry["gain"]["n"])
    gain = best["gain"]
    if gain["n"] > 1 and min(gain["values"]) > 0:
        kind = "seeds"
    elif gain["mean"] > 0:
        kind = "once" if gain["n"] == 1 else "mixed"
    else:
        kind = "worse"
    step = _step(folder / f"{best['benchmark'].replace('/', '/records/')}.json", best)
    return Record(kind, step, gain["mean"], f"{best['benchmark']}, {best['arm']}")


def _step(path: Path, entry: dict) -> str:
    times = {arm["arm"]: arm.get("step_time_s") for arm in read_json(path)["arms"]}
    ours, base = times.get(entry["arm"]), times.get(entry["over"])
    return "slow" if ours and base and ours["mean"] > SLOW * base["mean"] else "usual"
