"""Suppression of boxes that overlap a better one, in the bird's-eye view."""

from __future__ import annotations

import numpy as np

_SIGNS = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) / 2  # corners, counter-clockwise


def suppress_rotated(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Return the places of the boxes that are kept, by falling score.

    Args:
        boxes: (N, 5) x, y, dx, dy in metres and yaw in radians.
        scores: (N,).
        threshold: A box goes where its overlap with a better one is larger.
    """
    order = np.argsort(-scores, kind="stable")
    kept = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        order = order[rotated_overlap(boxes[best], boxes[order]) <= threshold]
    return np.array(kept, dtype=np.int64)


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


def rotated_overlap(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return (N,) intersection over union of one rectangle (5,) with others (N, 5).

    The intersection of two rectangles is the convex hull of the corners of each inside the other
    and of the points where sides cross; its area is a sum over triangles, sorted by angle.
    """
    near = np.hypot(*(others[:, :2] - box[:2]).T)
    near = near < (np.hypot(*box[2:4]) + np.hypot(*others[:, 2:4].T)) / 2
    overlap = np.zeros(len(others))
    if near.any():
        shared = _shared_area(box.astype(np.float64), others[near].astype(np.float64))
        union = box[2] * box[3] + others[near, 2] * others[near, 3] - shared
        overlap[near] = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return overlap


def _shared_area(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return (N,) square metres, in the frame of `box`, where it is upright."""
    turn = _turn(box[4])
    middle = (others[:, :2] - box[:2]) @ turn  # by -yaw
    yaw = others[:, 4] - box[4]
    rotation = np.moveaxis(_turn(yaw), -1, 0) if yaw.ndim else _turn(yaw)
    corners = np.einsum("nij,nkj->nki", rotation, _SIGNS * others[:, None, 2:4])
    corners = corners + middle[:, None]
    half = box[2:4] / 2
    own = np.broadcast_to(_SIGNS * box[2:4], corners.shape)
    tiny = 1e-9
    inside = (np.abs(corners) <= half + tiny).all(-1)
    back = np.einsum("nji,nkj->nki", rotation, own - middle[:, None])
    own_inside = (np.abs(back) <= others[:, None, 2:4] / 2 + tiny).all(-1)
    crossing, crosses = _crossings(corners, half)
    points = np.concatenate([corners, own, crossing], 1)
    valid = np.concatenate([inside, own_inside, crosses], 1)
    return _hull_area(points, valid)


def _turn(yaw: np.ndarray) -> np.ndarray:
    cosine, sine = np.cos(yaw), np.sin(yaw)
    return np.array([[cosine, -sine], [sine, cosine]])


def _crossings(corners: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where the sides of quadrangles (N, 4, 2) cross an upright rectangle's: (N, 16, 2)."""
    start, step = corners, np.roll(corners, -1, 1) - corners
    found, valid = [], []
    for axis in (0, 1):
        for side in (-half[axis], half[axis]):
            way = step[..., axis]
            share = np.divide(side - start[..., axis], way, out=np.full(way.shape, -1.0),
                              where=way != 0)  # fmt: skip
            point = start + share[..., None] * step
            point[..., axis] = side
            found.append(point)
            valid.append(
                (share >= 0) & (share <= 1) & (abs(point[..., 1 - axis]) <= half[1 - axis])
            )
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
