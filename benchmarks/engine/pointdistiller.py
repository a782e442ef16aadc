"""PointDistiller's loss against a direct implementation that builds the edge tensor.

Both get the same features, query rows and edge adapters and return the weighted graph distance;
time and memory are those of the neighbour search, the value and all gradients. The direct one is
the formula word for word: distances of all pairs, edges [f_j ; f_q] as a (Q, K, 2C) tensor, a
linear map, stock batch normalisation, ReLU, squared difference.
"""

from __future__ import annotations

import os
import time
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.engine.harness import Arm, facts, interleave, ratio, seconds
from benchmarks.engine.peak import in_fresh_process
from kd3d.evaluation.peak import in_use_bytes, peak_bytes
from kd3d.losses.similarity.local_graph import (
    Neighbours,
    graph_distance,
    nearest_rows,
    normalised_edges,
)

QUERIES, NEIGHBOURS, WIDTH = 6000, 128, 32  # the paper's M and K, the authors' edge width
FASTER, SMALLER = 5.0, 0.2
EXACT = 1e-9  # relative error in float64, in the Euclidean norm of each tensor
SINGLE = 1e-5  # relative error of the value, and of the search, in float32


class Problem:
    """Features, parameters and queries of one comparison.

    Args:
        channels: C of both models' features.
        rows: V, pillars in the batch.
        seed: Of the values.
        dtype: The same values in another precision.
    """

    def __init__(
        self, channels: int, rows: int, seed: int, dtype: torch.dtype = torch.float32
    ) -> None:
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator).to(device(), dtype)

        self.student = normal(rows, channels).relu_()
        self.teacher = normal(rows, channels).relu_()
        self.weights = [(normal(WIDTH, 2 * channels) / channels**0.5) for _ in range(2)]
        self.scales = [1 + 0.1 * normal(WIDTH) for _ in range(2)]
        self.shifts = [0.1 * normal(WIDTH) for _ in range(2)]
        count = min(QUERIES, rows)
        self.queries = torch.randperm(rows, generator=generator)[:count].to(device())
        self.importance = torch.softmax(normal(count), 0)
        self.leaves = [self.student, *self.weights, *self.scales, *self.shifts]
        for leaf in self.leaves:
            leaf.requires_grad_()

    def sides(self) -> list[tuple[Tensor, ...]]:
        """Return (features, weight, scale, shift) of student and teacher."""
        return list(zip((self.student, self.teacher), self.weights, self.scales, self.shifts))


def device() -> str:
    """Return where the comparison runs."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def ours(problem: Problem, found: Tensor | None = None) -> Tensor:
    """Return the loss of kd3d; `found` (Q, K) are the neighbours, searched where None."""
    queries = problem.queries
    if found is None:
        found = nearest_rows(problem.teacher, queries, NEIGHBOURS, ordered=False)
    neighbours = Neighbours(found, len(problem.teacher))
    edges = [normalised_edges(f, queries, neighbours, w, g, b) for f, w, g, b in problem.sides()]
    return graph_distance(edges[0], edges[1], neighbours, problem.importance)


def direct(problem: Problem, found: Tensor | None = None) -> Tensor:
    """Return the same from the edge tensor."""
    queries = problem.queries
    if found is None:
        distance = torch.cdist(problem.teacher[queries], problem.teacher)  # (Q, V)
        found = distance.topk(NEIGHBOURS, dim=1, largest=False).indices
    graphs = []
    for features, weight, scale, shift in problem.sides():
        centre = features[queries][:, None].expand(-1, NEIGHBOURS, -1)
        edges = torch.cat([features[found], centre], 2)  # (Q, K, 2C)
        flat = F.linear(edges.flatten(0, 1), weight)
        flat = F.batch_norm(flat, None, None, scale, shift, training=True)
        graphs.append(F.relu(flat).view(len(queries), NEIGHBOURS, -1))
    return ((graphs[0] - graphs[1]).square().mean((1, 2)) * problem.importance).sum()


ARMS = {"ours": ours, "direct": direct}


def forward_backward(
    name: str, problem: Problem, found: Tensor | None = None
) -> tuple[Tensor, list[Tensor]]:
    """Return an arm's value and its gradients with respect to the leaves."""
    value = ARMS[name](problem, found)
    return value.detach(), list(torch.autograd.grad(value, problem.leaves))


def errors(
    name: str, channels: int, rows: int, seed: int, dtype: torch.dtype = torch.float32
) -> dict[str, float]:
    """Return the relative errors of an arm's value and of its worst gradient, and of our search.

    The truth is the direct implementation in float64. (Stock batch normalisation in float32 over
    768,000 edges is itself off by some 1e-4, so the two arms cannot be compared with each other.)
    An edge within rounding of the ReLU's kink has either derivative: a few of 24 million do, and
    then one channel's gradient differs by some 1e-4 in float32; in float64 none does.
    All get the neighbours that kd3d found in float32: where two rows are equally far to the last
    digits, either is right, but the gradients differ. ``search`` says how much farther than the
    true one a query's last neighbour is, at most, relative to it.
    """
    problem = Problem(channels, rows, seed)
    found = nearest_rows(problem.teacher, problem.queries, NEIGHBOURS, ordered=False)
    tried = Problem(channels, rows, seed, dtype)
    value, gradients = forward_backward(name, tried, found)
    truth = Problem(channels, rows, seed, torch.float64)
    exact = forward_backward("direct", truth, found)

    def relative(a: Tensor, b: Tensor) -> float:
        return float((a - b).norm() / b.norm())

    worst = max(relative(a, b) for a, b in zip(gradients, exact[1]))
    distance = torch.cdist(truth.teacher[truth.queries], truth.teacher)
    last = distance.kthvalue(found.shape[1], dim=1).values
    search = float((distance.gather(1, found).amax(1) / last - 1).max())
    return {"value": relative(value, exact[0]), "gradient": worst, "search": search}


def agree(error: dict[str, dict[str, float]]) -> bool:
    """Judge ``ours64``, ``ours`` and ``direct`` of `errors`.

    In float64 everything must be equal; in float32 the value must be right, and the gradients no
    farther from the truth than those of the direct implementation.
    """
    exact, single = error["ours64"], error["ours"]
    return (
        max(exact["value"], exact["gradient"]) <= EXACT
        and max(single["value"], single["search"]) <= SINGLE
        and single["gradient"] <= max(SINGLE, error["direct"]["gradient"])
    )


def peak(name: str, channels: int, rows: int, seed: int, threads: int) -> int:
    """Return the bytes that one arm needs above what lies in memory before it; for a fresh process.

    The problem is made before; gradients are made within.
    """
    torch.set_num_threads(threads)
    if name not in ARMS:
        raise KeyError(name)
    forward_backward(name, Problem(channels, 2 * NEIGHBOURS, seed))  # load the libraries' code
    problem = Problem(channels, rows, seed)
    before = in_use_bytes()
    return peak_bytes(lambda: forward_backward(name, problem), warmup=0) - before


def run(
    channels: list[int],
    rows: int = 8000,
    repeats: int = 7,
    seed: int = 0,
    threads: int | None = None,
    clock: str = "wall",
) -> dict[str, Any]:
    """Compare values, gradients, time and peak memory for every number of channels.

    Args:
        channels: Feature widths C of both models.
        rows: Pillars V; a KITTI frame has about 8000 of 0.16 m.
        repeats: Timed rounds.
        seed: Of the values.
        threads: Of torch; None: as it is.
        clock: ``wall`` or ``cpu``: which the ratios are taken of.
    """
    started, load = time.monotonic(), os.getloadavg()
    if threads:
        torch.set_num_threads(threads)
    found = []
    for width in channels:
        error = {name: errors(name, width, rows, seed) for name in ARMS}
        error["ours64"] = errors("ours", width, rows, seed, torch.float64)
        equal = agree(error)
        problem = Problem(width, rows, seed)
        arms = [
            Arm(name, lambda _, name=name, p=problem: forward_backward(name, p)) for name in ARMS
        ]
        times = interleave(arms, repeats, label=f"C = {width}")
        faster = ratio(times, ["direct"], ["ours"], clock)
        peaks = {
            name: in_fresh_process(
                "benchmarks.engine.pointdistiller:peak",
                name=name,
                channels=width,
                rows=rows,
                seed=seed,
                threads=torch.get_num_threads(),
            )
            for name in ARMS
        }
        smaller = peaks["ours"] / peaks["direct"]
        found.append(
            {
                "channels": width,
                "relative_error": error,
                "equal": equal,
                "times_faster": faster,
                "seconds": {name: seconds(times, name) for name in ("wall", "cpu")},
                "peak_bytes": peaks,
                "peak_share": smaller,
                "met": equal and faster["median"] >= FASTER and smaller <= SMALLER,
            }
        )
    return {
        "what": "PointDistiller's loss, search and gradients, against the full edge tensor",
        "queries": min(QUERIES, rows),
        "neighbours": NEIGHBOURS,
        "rows_in_batch": rows,
        "edge_width": WIDTH,
        "tolerance": {"float64": EXACT, "float32_value": SINGLE},
        "bounds": {"times_faster": FASTER, "peak_share": SMALLER},
        "repeats": repeats,
        "clock": clock,
        "rows": found,
        **facts(seed, started, load),
    }


def lines(result: dict[str, Any]) -> list[str]:
    """Return the result as text."""
    shown = [
        f"{result['what']}: {result['queries']} queries x {result['neighbours']} neighbours among "
        f"{result['rows_in_batch']} rows, {result['clock']} time, {result['threads']} threads, "
        f"{result['repeats']} repeats; GPU: {result['gpu']}"
    ]
    for row in result["rows"]:
        faster, peaks = row["times_faster"], row["peak_bytes"]
        worst = {
            name: max(error["value"], error["gradient"])
            for name, error in row["relative_error"].items()
        }
        shown.append(
            f"C = {row['channels']:3}: {'equal' if row['equal'] else 'DIFFERENT'} "
            f"(error {worst['ours64']:.0e} in float64, {worst['ours']:.0e} in float32 where the "
            f"direct one has {worst['direct']:.0e}), "
            f"{faster['median']:.1f} times faster (quartiles {faster['q25']:.1f} to "
            f"{faster['q75']:.1f}, bound {FASTER:.0f}), peak {peaks['ours'] / 2**20:.0f} MB "
            f"against {peaks['direct'] / 2**20:.0f} MB = {row['peak_share']:.3f} "
            f"(bound {SMALLER}): "
            f"{'met' if row['met'] else 'MISSED'}"
        )
    return shown
