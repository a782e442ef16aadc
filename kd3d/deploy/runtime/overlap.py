"""Suppression of boxes that overlap a better one, in the bird's-eye view."""

from __future__ import annotations

import numpy as np

TINY_M = 1e-9  # how far outside a corner still counts as inside
PAIRS = 20_000  # that are looked at together
_SIGNS = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) / 2  # corners, counter-clockwise


def suppress_rotated(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Return the places of the boxes that are kept, by falling score.

    Args:
        boxes: (N, 5) x, y, dx, dy in metres and yaw in radians.
        scores: (N,).
        threshold: A box goes where its overlap with a better one that stays is larger.
    """
    order = np.argsort(-scores, kind="stable")
    covers = _covering(boxes[order].astype(np.float64), threshold)
    gone, kept = np.zeros(len(order), dtype=bool), []
    for place in range(len(order)):
        if not gone[place]:
            kept.append(order[place])
            gone |= covers[place]
    return np.array(kept, dtype=np.int64)


def _covering(boxes: np.ndarray, threshold: float) -> np.ndarray:
    """Return (N, N) bool: whether a box overlaps a later one by more than the threshold."""
    covers = np.zeros((len(boxes), len(boxes)), dtype=bool)
    reach = np.hypot(boxes[:, 2], boxes[:, 3]) / 2
    middles = boxes[:, :2]
    near = ((middles[:, None] - middles) ** 2).sum(-1) < (reach[:, None] + reach) ** 2
    first, second = np.nonzero(np.triu(near, 1))
    for start in range(0, len(first), PAIRS):
        a, b = first[start : start + PAIRS], second[start : start + PAIRS]
        covers[a, b] = rotated_overlap(boxes[a], boxes[b]) > threshold
    return covers


def suppress_upright(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """As `suppress_rotated`, the yaw taken as 0."""
    return suppress_rotated(boxes * np.array([1, 1, 1, 1, 0]), scores, threshold)


def suppress_near(
    middles: np.ndarray, scores: np.ndarray, squared_m: float, most: int
) -> np.ndarray:
    """Return the places of boxes whose middles (N, 2) are not near a better one's.

    Args:
        middles: Metres.
        scores: (N,).
        squared_m: A box goes at this squared distance or less.
        most: No more than so many are kept.
    """
    order = np.argsort(-scores, kind="stable")
    kept = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        order = order[((middles[order] - middles[best]) ** 2).sum(1) > squared_m]
    return np.array(kept[:most], dtype=np.int64)


def rotated_overlap(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return (N,) intersection over union of rectangles (N, 5) with others (N, 5), pair by pair.

    The intersection of two rectangles is the convex hull of the corners of each inside the other
    and of the points where sides cross; its area is a sum over triangles, sorted by angle.
    """
    shared = _shared_area(first.astype(np.float64), second.astype(np.float64))
    union = first[:, 2] * first[:, 3] + second[:, 2] * second[:, 3] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def _shared_area(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return (N,) square metres, in the frames of the first, where they are upright."""
    middle = np.einsum("nj,nji->ni", second[:, :2] - first[:, :2], _turn(first[:, 4]))
    rotation = _turn(second[:, 4] - first[:, 4])
    own, half = _SIGNS * first[:, None, 2:4], first[:, None, 2:4] / 2
    corners = np.einsum("nij,nkj->nki", rotation, _SIGNS * second[:, None, 2:4]) + middle[:, None]
    inside = (np.abs(corners) <= half + TINY_M).all(-1)
    back = np.einsum("nji,nkj->nki", rotation, own - middle[:, None])
    own_inside = (np.abs(back) <= second[:, None, 2:4] / 2 + TINY_M).all(-1)
    crossing, crosses = _crossings(corners, half)
    points = np.concatenate([corners, own, crossing], 1)
    return _hull_area(points, np.concatenate([inside, own_inside, crosses], 1))


def _turn(yaw: np.ndarray) -> np.ndarray:
    """Return (N, 2, 2) rotations."""
    cosine, sine = np.cos(yaw), np.sin(yaw)
    return np.stack([np.stack([cosine, -sine], -1), np.stack([sine, cosine], -1)], -2)


def _crossings(corners: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where the sides of quadrangles (N, 4, 2) cross upright rectangles': (N, 16, 2).

    Args:
        corners: In order.
        half: (N, 1, 2) half sizes of the rectangles, about the origin.
    """
    step = np.roll(corners, -1, 1) - corners
    found, valid = [], []
    for axis in (0, 1):
        way, limit = step[..., axis], half[..., 1 - axis]
        for sign in (-1, 1):
            side = sign * half[..., axis]
            gap = side - corners[..., axis]
            share = np.divide(gap, way, out=np.full(way.shape, -1.0), where=way != 0)
            point = corners + share[..., None] * step
            point[..., axis] = side
            found.append(point)
            valid.append((share >= 0) & (share <= 1) & (np.abs(point[..., 1 - axis]) <= limit))
    return np.concatenate(found, 1), np.concatenate(valid, 1)


def _hull_area(points: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return the area of each convex set of points (N, K, 2), invalid ones left out."""
    count = np.maximum(valid.sum(1), 1)
    middle = (points * valid[..., None]).sum(1) / count[:, None]
    points = np.where(valid[..., None], points - middle[:, None], 0.0)
    angle = np.where(valid, np.arctan2(points[..., 1], points[..., 0]), np.inf)
    points = np.take_along_axis(points, np.argsort(angle, 1)[..., None], 1)
    place = np.arange(points.shape[1])
    following = np.where(place + 1 < valid.sum(1)[:, None], place + 1, 0)
    after = np.take_along_axis(points, following[..., None], 1)
    cross = points[..., 0] * after[..., 1] - points[..., 1] * after[..., 0]
    return np.abs(np.where(place < valid.sum(1)[:, None], cross, 0.0).sum(1)) / 2
