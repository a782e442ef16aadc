"""Furthest point sampling."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

_FAR = 1e10  # squared distance to the empty set


def furthest_point_sample(points_xyz: Tensor, num_points: int) -> Tensor:
    """Choose points one after another, each the furthest from those already chosen.

    Point 0 comes first. Distances are squared Euclidean, in square metres, at most 1e10. Of equally
    far points the kernel's reduction keeps one by a fixed rule, see `tie_order`. When every
    position is taken, point 0 is chosen again.

    Args:
        points_xyz: (B, N, 3) finite coordinates, N >= 1.
        num_points: M; may exceed N.

    Returns:
        (B, M) int32 indices.
    """
    order = tie_order(points_xyz.shape[1])
    x, y, z = points_xyz[:, order].unbind(2)

    def squared_distances(last: Tensor) -> Tensor:
        d = (x - x.gather(1, last)).square_()
        d += (y - y.gather(1, last)).square_()
        return d.add_((z - z.gather(1, last)).square_())

    return _sample(x, order, num_points, squared_distances)


def furthest_point_sample_with_dist(points_dist: Tensor, num_points: int) -> Tensor:
    """Choose points as `furthest_point_sample` does, by given distances.

    Args:
        points_dist: (B, N, N) distances in any unit, at most 1e10; row i holds those from point i.
        num_points: M; may exceed N.

    Returns:
        (B, M) int32 indices.
    """
    order = tie_order(points_dist.shape[1])
    samples = torch.arange(len(points_dist))

    def row(last: Tensor) -> Tensor:
        return points_dist[samples, order[last[:, 0]]][:, order]

    return _sample(points_dist[:, 0], order, num_points, row)


def _sample(
    like: Tensor, order: Tensor, num_points: int, distances: Callable[[Tensor], Tensor]
) -> Tensor:
    """Return (B, M) indices; `like` is (B, N), positions count along `order`."""
    chosen = torch.zeros((len(like), num_points), dtype=torch.long)
    nearest = torch.full_like(like, _FAR)
    last = chosen.new_zeros((len(like), 1))  # point 0 is first in `order`, too
    for j in range(1, num_points):
        torch.minimum(nearest, distances(last), out=nearest)
        last = nearest.argmax(1, keepdim=True)  # of equal ones, the first
        chosen[:, j] = last[:, 0]
    return order[chosen].int()


@lru_cache(maxsize=32)
def tie_order(count: int) -> Tensor:
    """Return the (N,) order in which the CUDA kernel prefers equally far points.

    It runs T = min(2^floor(log2 N), 1024) threads; thread t looks at points t, t + T, ... and
    keeps the first of its furthest. Pairs of threads (t, t + T/2), then (t, t + T/4), ... are
    compared, the lower wins a tie. So the thread whose number is smallest with its bits reversed
    wins, and in it the lowest index.

    Args:
        count: N.
    """
    bits = min(int(math.log(count) / math.log(2.0)), 10)
    index = torch.arange(count)
    thread, turn = index % (1 << bits), index >> bits
    reverse = torch.zeros_like(thread)
    for i in range(bits):
        reverse |= (thread >> i & 1) << (bits - 1 - i)
    return torch.argsort(reverse * count + turn)
