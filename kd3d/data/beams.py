"""Which beam of a spinning LiDAR a point belongs to, from its elevation."""

from __future__ import annotations

import numpy as np

_ROUNDS = 50


def elevation_rad(xyz: np.ndarray) -> np.ndarray:
    """Return (N,) elevations of points (N, 3) above the sensor's horizon, in radians."""
    return np.arctan2(xyz[:, 2], np.hypot(xyz[:, 0], xyz[:, 1]))


def beam_indices(xyz: np.ndarray, beams: int) -> np.ndarray:
    """Return each point's beam, counted from the lowest: (N,) int64 in 0..beams-1.

    K-means on the elevations. Centres start at equal distances; then, as long as the sum of squares
    falls, the two clusters that are cheapest to join become one and the costliest becomes two, so
    that unevenly spaced beams are found too. Without a ring number in the file (KITTI) this is an
    estimate.

    Args:
        xyz: (N, 3) points in the sensor's frame, metres.
        beams: How many beams the cloud has.
    """
    angle = elevation_rad(np.asarray(xyz, dtype=np.float64))
    if not len(angle):
        return np.zeros(0, dtype=np.int64)
    values = _Sorted(angle)
    centres, counts, costs = values.cluster(np.linspace(angle.min(), angle.max(), beams))
    for _ in range(beams if beams > 1 else 0):
        trial = values.cluster(_swapped(centres, counts, costs))
        if trial[2].sum() >= costs.sum() * (1 - 1e-6):
            break
        centres, counts, costs = trial
    return np.searchsorted(_limits(centres[counts > 0]), angle, side="right")


def kept_points(
    xyz: np.ndarray, beam: np.ndarray, beam_ratio: int, bin_ratio: int = 1, first: int = 0
) -> np.ndarray:
    """Return which points a sensor with fewer beams and a coarser azimuth would have seen.

    Args:
        xyz: (N, 3) points in the sensor's frame, metres.
        beam: (N,) each point's beam, see `beam_indices`.
        beam_ratio: Keep one beam of so many.
        bin_ratio: Of a kept beam, keep one point of so many in the order of azimuth from 0 to 2 pi.
        first: Which beam is the first that is kept.

    Returns:
        (N,) bool.
    """
    azimuth = np.mod(np.arctan2(xyz[:, 1], xyz[:, 0]), 2 * np.pi)
    order = np.lexsort((azimuth, beam))
    sorted_beam = beam[order]
    place = np.empty(len(beam), dtype=np.int64)
    place[order] = np.arange(len(beam)) - np.searchsorted(sorted_beam, sorted_beam)
    return (beam % beam_ratio == first) & (place % bin_ratio == 0)


class _Sorted:
    """Sorted values with the sums that make a round of k-means independent of their number."""

    def __init__(self, values: np.ndarray) -> None:
        self.middle = values.mean()  # sums of small numbers keep their digits
        self.values = np.sort(values) - self.middle
        powers = (self.values, self.values**2)
        self.sums, self.squares = (np.concatenate([[0.0], np.cumsum(v)]) for v in powers)

    def cluster(self, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return Lloyd's (K,) centres, point counts and sums of squared distances."""
        centres = np.sort(centres) - self.middle
        limits = _limits(centres)
        for _ in range(_ROUNDS):
            inner = np.searchsorted(self.values, limits)
            ends = np.concatenate([[0], inner, [len(self.values)]])
            counts = np.diff(ends)
            means = np.diff(self.sums[ends]) / np.maximum(counts, 1)
            centres = np.where(counts > 0, means, centres)
            moved = _limits(centres)
            if np.array_equal(moved, limits):
                break
            limits = moved
        costs = np.maximum(np.diff(self.squares[ends]) - counts * means**2, 0.0)
        return centres + self.middle, counts, costs


def _swapped(centres: np.ndarray, counts: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Return centres with the cheapest neighbours joined and the costliest cluster parted."""
    worst = int(costs.argmax())
    both = counts[1:] + counts[:-1]
    join = counts[1:] * counts[:-1] / np.maximum(both, 1) * np.diff(centres) ** 2
    join[max(worst - 1, 0) : worst + 1] = np.inf
    first = int(join.argmin())
    weights = np.maximum(counts[first : first + 2], 1e-9)
    deviation = np.sqrt(costs[worst] / max(counts[worst], 1))
    new = centres.copy()
    new[first] = np.average(centres[first : first + 2], weights=weights)
    new[first + 1] = centres[worst] + deviation
    new[worst] = centres[worst] - deviation
    return new


def _limits(centres: np.ndarray) -> np.ndarray:
    """Return the values half-way between neighbouring centres."""
    return (centres[1:] + centres[:-1]) / 2
