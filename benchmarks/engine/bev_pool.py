"""Pooling of lifted image features against sorting and the cumulative sum.

Both get the same depth distributions, features and cells of six simulated cameras around the car
and return the bird's-eye-view map; time and memory are those of the map and of both gradients. The
other arm is what lift-splat detectors do without a compiled operation: the table of all points'
weighted features, sorted by cell, summed up cumulatively, differences taken at the last point of
each cell, with a gradient of its own, as in J. Philion, S. Fidler, "Lift, Splat, Shoot", ECCV 2020.
"""

from __future__ import annotations

import math
import os
import time
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from benchmarks.engine.harness import Arm, facts, interleave, ratio, seconds
from benchmarks.engine.peak import in_fresh_process
from kd3d.evaluation.peak import in_use_bytes, peak_bytes
from kd3d.models.bev.cameras import Cameras
from kd3d.models.bev.frustum import DepthBins, pixel_frustum
from kd3d.models.bev.grid import BEVGrid
from kd3d.models.bev.pooling import bev_pool

FASTER, SMALLER = 3.0, 0.5
EXACT = 1e-9  # relative error in float64
FEATURES, IMAGE = (16, 44), (256, 704)  # of BEVDet, at a stride of 16
SIDE = [-51.2, 51.2, 0.8]
SIZES = {  # bins and channels
    "bevdet": ([1.0, 60.0, 1.0], 64),
    "bevdepth": ([2.0, 58.0, 0.5], 80),
    "small": ([2.0, 58.0, 8.0], 8),
}


class Problem:
    """Depth, features and cells of one comparison.

    Args:
        size: Name in `SIZES`.
        samples: Of the batch.
        seed: Of the values.
        dtype: The same values in another precision.
    """

    def __init__(
        self, size: str, samples: int, seed: int, dtype: torch.dtype = torch.float32
    ) -> None:
        bounds, self.channels = SIZES[size]
        self.bins, self.grid = DepthBins(bounds), BEVGrid.of(SIDE, SIDE, [-5.0, 3.0, 8.0])
        generator = torch.Generator().manual_seed(seed)
        views = (samples, 6)
        depth = torch.randn((*views, self.bins.count, *FEATURES), generator=generator)
        context = torch.randn((*views, self.channels, *FEATURES), generator=generator)
        self.depth = depth.softmax(2).to(dtype).requires_grad_()
        self.context = context.to(dtype).requires_grad_()
        frustum = pixel_frustum(self.bins, FEATURES, IMAGE)
        self.cell = self.grid.cells(surround(samples).lift(frustum))
        self.cells = samples * math.prod(self.grid.count)
        self.weight = torch.randn((self.cells, self.channels), generator=generator).to(dtype)


def surround(samples: int) -> Cameras:
    """Return six level cameras, 60 degrees apart, which see 70 degrees each."""
    cam2lidar = torch.eye(4, dtype=torch.float64).repeat(samples, 6, 1, 1)
    for i in range(6):
        sine, cosine = math.sin(math.pi * i / 3), math.cos(math.pi * i / 3)
        cam2lidar[:, i, :3, :3] = torch.tensor(
            [[sine, 0, cosine], [-cosine, 0, sine], [0, -1, 0]], dtype=torch.float64
        )
        cam2lidar[:, i, 2, 3] = -0.2
    focal = IMAGE[1] / 2 / math.tan(math.radians(35))
    cam2img = torch.tensor([[focal, 0, IMAGE[1] / 2], [0, focal, IMAGE[0] / 2], [0, 0, 1]])
    cam2img = cam2img.double().expand(samples, 6, 3, 3)
    return Cameras(
        cam2lidar,
        cam2img,
        torch.eye(4, dtype=torch.float64).expand(samples, 6, 4, 4),
        torch.eye(4, dtype=torch.float64).expand(samples, 4, 4),
    )


def ours(problem: Problem) -> Tensor:
    """Pool as kd3d does."""
    return bev_pool(problem.depth, problem.context, problem.cell, problem.cells)


def sorted_sums(problem: Problem) -> Tensor:
    """Pool by sorting and the cumulative sum."""
    context = problem.context.movedim(2, -1).unsqueeze(2)  # (B, N, 1, H, W, C)
    table = (problem.depth.unsqueeze(-1) * context).reshape(-1, problem.channels)
    flat = problem.cell.flatten()
    inside = flat >= 0
    table, flat = table[inside], flat[inside]
    order = flat.argsort()
    sums, at = _CumulativeSums.apply(table[order], flat[order])
    return sums.new_zeros(problem.cells, problem.channels).index_copy(0, at, sums)


class _CumulativeSums(Function):
    """Sums of equal neighbours in a sorted table; a point's gradient is that of its sum."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        total = table.cumsum(0)
        last = torch.ones(len(cell), dtype=torch.bool, device=cell.device)
        last[:-1] = cell[1:] != cell[:-1]
        total, cell = total[last], cell[last]
        ctx.save_for_backward(last)
        ctx.mark_non_differentiable(cell)
        return torch.cat([total[:1], total[1:] - total[:-1]]), cell

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, None]:
        (last,) = ctx.saved_tensors
        return grad[last.cumsum(0) - last.long()], None


ARMS = {"ours": ours, "sorted_sums": sorted_sums}


def forward_backward(name: str, problem: Problem) -> list[Tensor]:
    """Return an arm's map and the gradients of depth and context under random weights."""
    sums = ARMS[name](problem)
    leaves = (problem.depth, problem.context)
    gradients = torch.autograd.grad((sums * problem.weight).sum(), leaves)
    return [sums.detach(), *gradients]


def error(size: str, samples: int, seed: int) -> float:
    """Return the largest relative difference of map and gradients in float64."""
    problem = Problem(size, samples, seed, torch.float64)
    pairs = zip(*(forward_backward(name, problem) for name in ARMS))
    return max(float((a - b).norm() / b.norm()) for a, b in pairs)


def peak(name: str, size: str, samples: int, seed: int, threads: int) -> int:
    """Return the bytes that one arm needs above the problem itself; for a fresh process."""
    torch.set_num_threads(threads)
    problem = Problem(size, samples, seed)
    before = in_use_bytes()
    return peak_bytes(lambda: forward_backward(name, problem)) - before


def run(
    sizes: list[str],
    samples: int = 2,
    repeats: int = 5,
    seed: int = 0,
    threads: int | None = None,
    clock: str = "wall",
) -> dict[str, Any]:
    """Compare values, gradients, time and peak memory.

    Args:
        sizes: Names in `SIZES`.
        samples: Of a batch.
        repeats: Timed rounds.
        seed: Of the values.
        threads: Of torch; None: as it is.
        clock: ``wall`` or ``cpu``: which the ratios are taken of.
    """
    started, load = time.monotonic(), os.getloadavg()
    if threads:
        torch.set_num_threads(threads)
    return {
        "what": "Pooling of six cameras into a map, gradients included, against sorting and "
        "cumulative sums",
        "samples": samples,
        "cells": "128 x 128 of 0.8 m",
        "bounds": {"times_faster": FASTER, "peak_share": SMALLER, "relative_error": EXACT},
        "repeats": repeats,
        "clock": clock,
        "rows": [_row(size, samples, repeats, seed, clock) for size in sizes],
        **facts(seed, started, load),
    }


def _row(size: str, samples: int, repeats: int, seed: int, clock: str) -> dict[str, Any]:
    found, problem = error(size, 1, seed), Problem(size, samples, seed)
    arms = [Arm(name, lambda _, name=name: forward_backward(name, problem)) for name in ARMS]
    times = interleave(arms, repeats, label=size)
    faster = ratio(times, ["sorted_sums"], ["ours"], clock)
    given = dict(size=size, samples=samples, seed=seed, threads=torch.get_num_threads())
    peaks = {
        name: in_fresh_process("benchmarks.engine.bev_pool:peak", name=name, **given)
        for name in ARMS
    }
    share = peaks["ours"] / peaks["sorted_sums"]
    met = found <= EXACT and faster["median"] >= FASTER and share <= SMALLER
    return {
        "size": size,
        "bins": problem.bins.count,
        "channels": problem.channels,
        "points": int((problem.cell >= 0).sum()),
        "relative_error": found,
        "times_faster": faster,
        "seconds": {name: seconds(times, name) for name in ("wall", "cpu")},
        "peak_bytes": peaks,
        "peak_share": share,
        "met": met,
    }


def lines(result: dict[str, Any]) -> list[str]:
    """Return the result as text."""
    shown = [
        f"{result['what']}: {result['samples']} samples, {result['clock']} time, "
        f"{result['threads']} threads, {result['repeats']} repeats; GPU: {result['gpu']}"
    ]
    for row in result["rows"]:
        faster, peaks = row["times_faster"], row["peak_bytes"]
        shown.append(
            f"{row['size']} ({row['bins']} bins, {row['channels']} channels, {row['points']} "
            f"points): error {row['relative_error']:.0e} in float64, {faster['median']:.1f} times "
            f"faster (quartiles {faster['q25']:.1f} to {faster['q75']:.1f}, bound {FASTER:.0f}), "
            f"peak {peaks['ours'] / 2**20:.0f} MB against {peaks['sorted_sums'] / 2**20:.0f} MB = "
            f"{row['peak_share']:.3f} (bound {SMALLER}): {'met' if row['met'] else 'MISSED'}"
        )
    return shown
