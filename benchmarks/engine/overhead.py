"""What a distillation step costs beyond the student's step and the teacher's forward pass.

ratio = distillation step / (student-only step + teacher forward)

- distillation step: ``Distiller.train_step``: preprocessing of both branches, the student's losses,
  the teacher up to its last tap, the terms, backward, gradient clipping, optimizer step;
- student-only step: the same method of a distiller without teachers;
- teacher forward: the teacher alone, up to its last tap, under no_grad, from inputs that are
  preprocessed already: both models have the same voxels here, so the student's step pays for them
  and copying them for the second branch counts as overhead.

For comparison the stock mmdet3d detector's own ``train_step`` is timed as well.
"""

from __future__ import annotations

import copy
import os
import time
from typing import Any

import torch

from benchmarks.engine import setups
from benchmarks.engine.harness import CLOCKS, Arm, Times, facts, interleave, ratio, seconds

STUDENT, STOCK = "student", "stock"


def run(
    detectors: list[str],
    methods: list[str],
    batch_size: int | None = None,
    repeats: int = 9,
    seed: int = 0,
    threads: int | None = None,
    clock: str = "wall",
    data: str | None = None,
) -> dict[str, Any]:
    """Time every pair of detector and method.

    Args:
        detectors: Names of `setups.DETECTORS`.
        methods: Names of `setups.METHODS`.
        batch_size: Samples a step; None: those of `setups.BATCH`.
        repeats: Timed rounds.
        seed: Of weights, data and augmentation.
        threads: Of torch; None: as it is.
        clock: ``wall`` or ``cpu``: which the ratios are taken of.
        data: A prepared KITTI folder; None: simulated frames.

    Returns:
        Ratios with their spread and bounds, seconds of all arms on both clocks, and facts.
    """
    started, load = time.monotonic(), os.getloadavg()
    if threads:
        torch.set_num_threads(threads)
    setups.register()
    groups: dict[int, list[str]] = {}
    for method in methods:
        groups.setdefault(batch_size or setups.BATCH[method], []).append(method)
    rows: list[dict[str, Any]] = []
    with setups.prepared_data(data, 2 * max(groups), seed) as root:
        given = {size: setups.batches(root, size, 2, seed) for size in groups}
    for detector in detectors:
        for size, together in groups.items():
            arms = make_arms(detector, together, given[size], seed)
            times = interleave(arms, repeats, label=f"{detector}, batch {size}")
            points = [len(cloud) for batch in given[size] for cloud in batch["inputs"]["points"]]
            common = {"detector": detector, "batch_size": size, "points": points}
            rows += [common | row for row in compare(times, together, clock)]
    return {
        "what": "distillation step / (student-only step + teacher forward up to its last tap)",
        "repeats": repeats,
        "clock": clock,
        "simulated": data is None,
        "rows": rows,
        **facts(seed, started, load),
    }


def compare(times: Times, methods: list[str], clock: str) -> list[dict[str, Any]]:
    """Return a row a method, and one for the distiller without teachers against stock mmdet3d."""
    rows = []
    for method in methods:
        arms = [method, STUDENT, f"teacher for {method}"]
        found, bound = ratio(times, arms[:1], arms[1:], clock), setups.BOUNDS[method]
        rows.append(
            {
                "method": method,
                "ratio": found,
                "bound": bound,
                "met": found["median"] <= bound,
                "seconds": {
                    name: {arm: seconds(times, name)[arm] for arm in arms} for name in CLOCKS
                },
            }
        )
    plain = [STUDENT, STOCK]
    return [
        *rows,
        {
            "method": None,
            "ratio": ratio(times, [STUDENT], [STOCK], clock),
            "bound": None,
            "met": None,
            "seconds": {name: {arm: seconds(times, name)[arm] for arm in plain} for name in CLOCKS},
        },
    ]


def make_arms(
    detector: str, methods: list[str], given: list[dict[str, Any]], seed: int
) -> list[Arm]:
    """Return the arms of one detector: student, stock, and distillation and teacher a method."""

    def batch(repeat: int) -> dict[str, Any]:
        return copy.deepcopy(given[repeat % len(given)])

    arms = [
        Arm(STUDENT, setups.Trainer(setups.distiller(detector, None, seed)).step, batch),
        Arm(STOCK, setups.Trainer(setups.stock(detector, seed)).step, batch),
    ]
    for method in methods:
        model = setups.distiller(detector, method, seed)
        arms.append(Arm(method, setups.Trainer(model).step, batch))
        arms.append(_teacher_arm(model, method, batch))
    return arms


def _teacher_arm(model: Any, method: str, batch: Any) -> Arm:
    from kd3d.core.context import Context

    teacher = model.teachers["teacher"]

    def prepare(repeat: int) -> tuple:
        ready = model.data_preprocessor(batch(repeat), True)
        inputs, samples = ready["inputs"], ready["data_samples"]
        return inputs, samples, Context.from_batch(inputs, samples[STUDENT], 0.0)

    return Arm(f"teacher for {method}", lambda given: teacher(*given), prepare)


def lines(result: dict[str, Any]) -> list[str]:
    """Return the result as text."""
    shown = [
        f"{result['what']}, {result['clock']} time, {result['threads']} threads, "
        f"{result['repeats']} repeats; GPU: {result['gpu']}"
    ]
    for row in result["rows"]:
        found = row["ratio"]
        text = f"{found['median']:.3f} (quartiles {found['q25']:.3f} to {found['q75']:.3f})"
        if row["method"] is None:
            name, verdict = "no teacher / stock", ""
        else:
            name = row["method"]
            verdict = f", bound {row['bound']:.2f}: {'met' if row['met'] else 'MISSED'}"
        shown.append(f"{row['detector']:13} batch {row['batch_size']} {name:19} {text}{verdict}")
    return shown
