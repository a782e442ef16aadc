"""Peak memory of a distillation step against the student's step, teacher weights and taps.

bound = 1.05 x (peak of the student-only step + teacher weights + tapped tensors)

Every arm runs in a process of its own. A peak is counted from just before the model is built, so
neither the interpreter and its libraries nor the frames widen the 5 %.
"""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.engine import setups
from benchmarks.engine.harness import facts
from benchmarks.engine.peak import in_fresh_process
from kd3d.evaluation.peak import in_use_bytes, peak_bytes

SLACK = 1.05


def arm(
    detector: str, method: str | None, data_root: str, batch_size: int, seed: int, threads: int
) -> dict[str, int]:
    """Measure one model's step; for a fresh process.

    Args:
        detector: A name of `setups.DETECTORS`.
        method: A name of `setups.METHODS`, or None for the student alone.
        data_root: A prepared KITTI folder.
        batch_size: Samples a step.
        seed: Of weights and data.
        threads: Of torch.

    Returns:
        ``peak``, ``teacher`` (weights and buffers) and ``taps``, in bytes.
    """
    torch.set_num_threads(threads)
    setups.register()
    batch = setups.batches(Path(data_root), batch_size, 1, seed)[0]
    setups.Trainer(setups.distiller(detector, None, seed)).step(copy.deepcopy(batch))
    before = in_use_bytes()  # the libraries' code and buffers are loaded now
    model = setups.distiller(detector, method, seed)
    trainer = setups.Trainer(model)
    found = {"peak": peak_bytes(lambda: trainer.step(copy.deepcopy(batch))) - before}
    found["teacher"] = sum(
        t.nbytes for teacher in model.teachers.values() for t in _state(teacher.model)
    )
    found["taps"] = sum(t.nbytes for t in _tapped(model, copy.deepcopy(batch)))
    return found


def _state(model: torch.nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]


def _tapped(model: Any, batch: dict[str, Any]) -> Iterator[Tensor]:
    """Yield what the terms read: the teacher's features, and the student's that are copies."""
    seen: dict[str, dict[str, Any]] = {}
    model.guard.seen = seen
    ready = model.data_preprocessor(batch, True)
    with torch.no_grad():
        model(**ready, mode="loss")
    for branch, features in model.guard.seen.items():
        for name, value in features.items():
            if branch != "student" or model.taps["student"].taps[name].address.clone:
                yield from _tensors(value)
    model.guard.seen = None


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)


def run(
    detectors: list[str],
    methods: list[str],
    batch_size: int = 2,
    repeats: int = 3,
    seed: int = 0,
    threads: int | None = None,
    data: str | None = None,
) -> dict[str, Any]:
    """Measure every pair of detector and method.

    Args:
        detectors: Names of `setups.DETECTORS`.
        methods: Names of `setups.METHODS`.
        batch_size: Samples a step.
        repeats: Processes an arm; the largest peak of a method and the smallest of the student
            alone count.
        seed: Of weights and data.
        threads: Of torch; None: as it is.
        data: A prepared KITTI folder; None: simulated frames.
    """
    started, load = time.monotonic(), os.getloadavg()
    rows = []
    with setups.prepared_data(data, max(4, batch_size), seed) as root:
        options = dict(
            data_root=str(root),
            batch_size=batch_size,
            seed=seed,
            threads=threads or torch.get_num_threads(),
        )

        def measure(detector: str, method: str | None) -> list[dict[str, int]]:
            target = "benchmarks.engine.memory:arm"
            return [
                in_fresh_process(target, detector=detector, method=method, **options)
                for _ in range(repeats)
            ]

        for detector in detectors:
            alone = [found["peak"] for found in measure(detector, None)]
            for method in methods:
                rows.append(
                    {"detector": detector, "method": method}
                    | compare(alone, measure(detector, method))
                )
    return {
        "what": "peak of a distillation step / (student-only peak + teacher weights + taps)",
        "batch_size": batch_size,
        "repeats": repeats,
        "bound": SLACK,
        "simulated": data is None,
        "rows": rows,
        **facts(seed, started, load),
        "threads": options["threads"],
    }


def compare(alone: list[int], found: list[dict[str, int]]) -> dict[str, Any]:
    """Return the ratio of one pair from its repeats, on the cautious side."""
    peaks = [one["peak"] for one in found]
    allowed = min(alone) + found[0]["teacher"] + found[0]["taps"]
    return {
        "student_peak_bytes": alone,
        "peak_bytes": peaks,
        "teacher_bytes": found[0]["teacher"],
        "tapped_bytes": found[0]["taps"],
        "ratio": max(peaks) / allowed,
        "met": max(peaks) <= SLACK * allowed,
    }


def lines(result: dict[str, Any]) -> list[str]:
    """Return the result as text."""
    shown = [
        f"{result['what']}, batch {result['batch_size']}, {result['threads']} threads, "
        f"{result['repeats']} processes an arm; GPU: {result['gpu']}"
    ]
    for row in result["rows"]:
        parts = [min(row["student_peak_bytes"]), row["teacher_bytes"], row["tapped_bytes"]]
        sizes = " + ".join(f"{size / 2**20:.0f}" for size in parts)
        shown.append(
            f"{row['detector']:13} {row['method']:15} {max(row['peak_bytes']) / 2**20:.0f} MB / "
            f"({sizes} MB) = {row['ratio']:.3f}, bound {SLACK}: {'met' if row['met'] else 'MISSED'}"
        )
    return shown
