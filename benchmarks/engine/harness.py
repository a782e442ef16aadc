"""Timing several arms of a comparison in one process so that a machine's noise cancels."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch

from kd3d.console import track
from kd3d.engine import provenance

CLOCKS = ("wall", "cpu")


@dataclass
class Arm:
    """One thing to time.

    Attributes:
        name: Key in results.
        step: Called with what `prepare` returned; only this is timed.
        prepare: Makes the input of repeat i, untimed.
    """

    name: str
    step: Callable[[Any], Any]
    prepare: Callable[[int], Any] = lambda repeat: None


Times = dict[str, dict[str, list[float]]]  # clock -> arm -> seconds of each repeat


def interleave(arms: list[Arm], repeats: int, warmup: int = 1, label: str = "timing") -> Times:
    """Run every arm once a repeat, starting with another arm each time.

    Two arms that are compared thus meet the same neighbours on the machine, and the same clock
    rate; ratios are taken within a repeat. The arms' states (weights, caches) are their own.

    Args:
        arms: At least one.
        repeats: Timed rounds.
        warmup: Rounds before them.
        label: For the progress line.

    Returns:
        Seconds by clock, arm and repeat. ``wall`` is elapsed time; ``cpu`` is the processor time of
        all threads of this process, which a busy machine disturbs less (with one thread).
    """
    times: Times = {clock: {arm.name: [] for arm in arms} for clock in CLOCKS}
    for repeat in track(range(-warmup, repeats), label, total=warmup + repeats):
        for i in range(len(arms)):
            arm = arms[(i + repeat) % len(arms)]
            given = arm.prepare(max(repeat, 0))
            _wait_for_gpu()
            cpu, wall = time.process_time(), time.perf_counter()
            arm.step(given)
            _wait_for_gpu()
            spent = (time.perf_counter() - wall, time.process_time() - cpu)
            if repeat >= 0:
                for clock, seconds in zip(CLOCKS, spent):
                    times[clock][arm.name].append(seconds)
    return times


def _wait_for_gpu() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def spread(values: Iterable[float]) -> dict[str, Any]:
    """Return median, quartiles and number of values.

    Raises:
        ValueError: No value.
    """
    values = list(values)
    if not values:
        raise ValueError("no values")
    middle = statistics.median(values)
    quartiles = (middle, middle, middle)
    if len(values) > 1:
        quartiles = tuple(statistics.quantiles(values, n=4, method="inclusive"))
    return {"median": middle, "q25": quartiles[0], "q75": quartiles[2], "n": len(values)}


def ratio(times: Times, above: list[str], below: list[str], clock: str = "wall") -> dict[str, Any]:
    """Return the spread over repeats of sum(above) / sum(below), each taken within a repeat."""
    sums = [
        [sum(seconds) for seconds in zip(*(times[clock][name] for name in names))]
        for names in (above, below)
    ]
    return spread(a / b for a, b in zip(*sums))


def seconds(times: Times, clock: str = "wall") -> dict[str, Any]:
    """Return arm -> spread of its seconds."""
    return {name: spread(values) for name, values in times[clock].items()}


def facts(seed: int, started: float, load: tuple[float, ...]) -> dict[str, Any]:
    """Return what a figure needs beside it.

    Args:
        seed: Of models and data.
        started: `time.monotonic` at the start.
        load: `os.getloadavg` at the start.
    """
    commit, dirty = provenance.commit()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "not measured"
    return {
        "command": provenance.command(),
        "seed": seed,
        "commit": commit,
        "uncommitted_changes": dirty,
        "threads": torch.get_num_threads(),
        "machine": provenance.machine(),
        "gpu": gpu,
        "versions": provenance.versions(),
        "load_average": {"start": list(load), "end": list(os.getloadavg())},
        "wall_s": round(time.monotonic() - started, 1),
    }
