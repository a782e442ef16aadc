"""Neighbours in space: within a ball, the k nearest, the three nearest."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

_CHUNK = 1 << 20  # distances that are held at once


def ball_query(
    min_radius: float, max_radius: float, sample_num: int, xyz: Tensor, center_xyz: Tensor
) -> Tensor:
    """Return the first points, in the order of their index, that lie in a shell round each centre.

    A point counts where its distance d is 0, or min_radius <= d < max_radius; squares are
    compared, those of the radii in float32. Fewer points than asked for: the first one fills the
    rest. None: all indices are 0.

    Args:
        min_radius: Metres.
        max_radius: Metres.
        sample_num: S.
        xyz: (B, N, 3).
        center_xyz: (B, M, 3).

    Returns:
        (B, M, S) int32 indices of points.
    """
    low, high = (torch.tensor(r, dtype=torch.float32).square() for r in (min_radius, max_radius))
    found = torch.zeros((*center_xyz.shape[:2], sample_num), dtype=torch.int32)
    for sample, points, centres in zip(found, xyz, center_xyz):
        reach = 1.001 * max_radius + 1e-6 * points.abs().amax()  # beyond any rounding
        along = centres[:, 0].argsort()  # neighbours in x share most of their candidates
        for rows in along.split(max(1, min(256, _CHUNK // max(1, len(points))))):
            x = centres[rows, 0]
            near = (points[:, 0] >= x[0] - reach) & (points[:, 0] <= x[-1] + reach)
            candidates = near.nonzero()[:, 0]
            d = squared_distances(centres[rows], points[candidates])
            first, count = first_true((d == 0) | ((d >= low) & (d < high)), sample_num)
            slots = torch.arange(sample_num)
            first = first.gather(1, torch.where(slots < count[:, None], slots, 0))
            if len(candidates):
                index = candidates[first]
                sample[rows] = torch.where(count[:, None] > 0, index, 0).int()
    return found


def knn(k: int, xyz: Tensor, center_xyz: Tensor | None = None, transposed: bool = False) -> Tensor:
    """Return the k nearest points of each centre, nearest first.

    Of equally far points the lower index comes first (the kernel's heap leaves their order open).
    A squared distance of 1e10 or more counts as no point; places that stay empty hold index 0.

    Args:
        k: 1 to 99.
        xyz: (B, N, 3), or (B, 3, N) where `transposed`.
        center_xyz: (B, M, 3) or (B, 3, M); None: the points themselves.
        transposed: The layout.

    Returns:
        (B, k, M) int32 indices.
    """
    if not 0 < k < 100:
        raise AssertionError("k should be in range(0, 100)")  # as mmcv has it
    centres = xyz if center_xyz is None else center_xyz
    if transposed:
        xyz, centres = xyz.transpose(1, 2), centres.transpose(1, 2)
    found = torch.zeros((*centres.shape[:2], k), dtype=torch.int32)
    kept = min(k, xyz.shape[1])
    for b, rows, d in _distance_rows(centres, xyz):
        nearest, index = d.float().sort(stable=True, dim=1)
        index = torch.where(nearest < 1e10, index, 0)
        found[b, rows, :kept] = index[:, :kept].int()
    return found.transpose(1, 2).contiguous()


def three_nn(target: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
    """Return the three nearest source points of each target point, nearest first.

    Of equally far points the lower index comes first. With fewer than three source points the
    missing ones have index 0 and distance sqrt(1e40), which is infinite in float32.

    Args:
        target: (B, N, 3).
        source: (B, M, 3).

    Returns:
        (B, N, 3) distances in metres, without gradient, and (B, N, 3) int32 indices.
    """
    missing = torch.tensor(1e40, dtype=torch.float64).to(target.dtype)
    distance = missing.expand(*target.shape[:2], 3).clone()
    found = torch.zeros(distance.shape, dtype=torch.int32)
    for b, rows, d in _distance_rows(target, source):
        for j in range(min(3, d.shape[1])):
            index = d.argmin(1, keepdim=True)  # of equal ones, the first
            distance[b, rows, j] = d.gather(1, index)[:, 0]
            found[b, rows, j] = index[:, 0].int()
            d.scatter_(1, index, float("inf"))
    return distance.sqrt_(), found


def first_true(mask: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the columns of the first true entries of each row.

    Args:
        mask: (R, N) bool.
        count: S.

    Returns:
        (R, S) int64 columns, 0 beyond those found, and (R,) how many were found, at most S.
    """
    rows, columns = mask.nonzero(as_tuple=True)
    total = mask.sum(1)
    place = torch.arange(len(rows)) - (total.cumsum(0) - total)[rows]
    kept = place < count
    found = torch.zeros((len(mask), count), dtype=torch.long)
    found[rows[kept], place[kept]] = columns[kept]
    return found, total.clamp(max=count)


def squared_distances(first: Tensor, second: Tensor) -> Tensor:
    """Return (M, N) sums of squared differences of (M, 3) and (N, 3), without cancellation."""
    d = (first[:, None, 0] - second[None, :, 0]).square_()
    for axis in (1, 2):
        d += (first[:, None, axis] - second[None, :, axis]).square_()
    return d


def _distance_rows(first: Tensor, second: Tensor) -> Iterator[tuple[int, slice, Tensor]]:
    """Yield sample, rows and (rows, N) squared distances of (B, M, 3) and (B, N, 3)."""
    step = max(1, _CHUNK // max(1, second.shape[1]))
    for b, (ours, theirs) in enumerate(zip(first, second)):
        for start in range(0, len(ours), step):
            rows = slice(start, start + step)
            yield b, rows, squared_distances(ours[rows], theirs)
