"""Exact overlap of upright rotated boxes on the CPU, in float64.

A box is [x, y, z_bottom, dx, dy, dz, yaw]: bottom centre and sizes in metres, dx along the
heading, yaw in radians counter-clockwise from x. Method: each pair is moved into the frame of
its first box, where that box is an axis-aligned rectangle about the origin; the second rectangle
is clipped at its four sides (I. Sutherland and G. Hodgman, "Reentrant polygon clipping",
Communications of the ACM, 1974) and measured with the shoelace formula. Clipping at axis-aligned
sides sets a coordinate to the side's exact value, so there is no tolerance anywhere: coincident
edges, slivers, millimetre boxes and boxes far from the origin are exact to rounding.

All compiled functions that call each other are in this file, because numba's cache notices a
change of the caller's file only. It lies in ``__pycache__`` or in ``NUMBA_CACHE_DIR``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

MODES = ("bev", "3d")


@njit(cache=True, nogil=True)
def _clip(xs, ys, count, axis_x, sign, limit, out_x, out_y):  # pragma: no cover (compiled)
    """Keep the part of a convex polygon with ``sign * coordinate <= limit``; return its size."""
    kept = 0
    for i in range(count):
        j = i + 1 if i + 1 < count else 0
        p = sign * (xs[i] if axis_x else ys[i])
        q = sign * (xs[j] if axis_x else ys[j])
        if p <= limit:
            out_x[kept], out_y[kept] = xs[i], ys[i]
            kept += 1
        if (p < limit < q) or (q < limit < p):
            t = (limit - p) / (q - p)
            if axis_x:
                out_x[kept], out_y[kept] = sign * limit, ys[i] + t * (ys[j] - ys[i])
            else:
                out_x[kept], out_y[kept] = xs[i] + t * (xs[j] - xs[i]), sign * limit
            kept += 1
    return kept


@njit(cache=True, nogil=True)
def _rectangle_intersection(a, b, work):  # pragma: no cover (compiled)
    """Area in square metres shared by two rotated rectangles.

    Args:
        a: First box, (7,) float64; only x, y, dx, dy and yaw are used.
        b: Second box, likewise.
        work: (4, 12) float64 scratch memory.
    """
    offset_x, offset_y = b[0] - a[0], b[1] - a[1]
    reach = 0.5 * (np.hypot(a[3], a[4]) + np.hypot(b[3], b[4]))
    if offset_x * offset_x + offset_y * offset_y >= reach * reach:
        return 0.0
    cos_a, sin_a = np.cos(a[6]), np.sin(a[6])
    centre_x = cos_a * offset_x + sin_a * offset_y
    centre_y = cos_a * offset_y - sin_a * offset_x
    turn_x, turn_y = np.cos(b[6] - a[6]), np.sin(b[6] - a[6])
    for k in range(4):
        along = 0.5 * b[3] if k == 0 or k == 3 else -0.5 * b[3]
        across = 0.5 * b[4] if k < 2 else -0.5 * b[4]
        work[0, k] = centre_x + turn_x * along - turn_y * across
        work[1, k] = centre_y + turn_y * along + turn_x * across
    count = _clip(work[0], work[1], 4, True, 1.0, 0.5 * a[3], work[2], work[3])
    count = _clip(work[2], work[3], count, True, -1.0, 0.5 * a[3], work[0], work[1])
    count = _clip(work[0], work[1], count, False, 1.0, 0.5 * a[4], work[2], work[3])
    count = _clip(work[2], work[3], count, False, -1.0, 0.5 * a[4], work[0], work[1])
    twice_area = 0.0
    for i in range(count):
        j = i + 1 if i + 1 < count else 0
        twice_area += work[0, i] * work[1, j] - work[0, j] * work[1, i]
    return 0.5 * abs(twice_area)


@njit(cache=True, nogil=True)
def _ratio(shared, first, second, of_first):  # pragma: no cover (compiled)
    """Shared measure over the union, or over the first box alone; 0 where that is empty."""
    whole = first if of_first else first + second - shared
    return shared / whole if whole > 0.0 else 0.0


@njit(cache=True, nogil=True)
def _pair_overlap(a, b, volume, of_first, work):  # pragma: no cover (compiled)
    """Overlap ratio of two boxes (7,), of their areas or of their volumes, 0 to 1."""
    shared = min(_rectangle_intersection(a, b, work), a[3] * a[4], b[3] * b[4])
    first, second = a[3] * a[4], b[3] * b[4]
    if volume:
        top = min(a[2] + a[5], b[2] + b[5])
        shared *= max(0.0, top - max(a[2], b[2]))
        first, second = first * a[5], second * b[5]
    return _ratio(shared, first, second, of_first)


@njit(cache=True, nogil=True)
def _aligned(a, b, volume, of_first):  # pragma: no cover (compiled)
    out, work = np.empty(len(a)), np.empty((4, 12))
    for i in range(len(a)):
        out[i] = _pair_overlap(a[i], b[i], volume, of_first, work)
    return out


@njit(cache=True, nogil=True)
def _all_pairs(a, b, volume, of_first):  # pragma: no cover (compiled)
    out, work = np.empty((len(a), len(b))), np.empty((4, 12))
    for i in range(len(a)):
        for j in range(len(b)):
            out[i, j] = _pair_overlap(a[i], b[j], volume, of_first, work)
    return out


@njit(cache=True, nogil=True)
def _image_overlap(a, b, of_first):  # pragma: no cover (compiled)
    """Overlap ratio of two upright rectangles (4,), 0 to 1."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0.0 or height <= 0.0:
        return 0.0
    first, second = (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])
    return _ratio(width * height, first, second, of_first)


@njit(cache=True, nogil=True)
def overlaps_by_frame(
    a, a_start, b, b_start, image, volume, of_first
):  # pragma: no cover (compiled)
    """Overlap of each row of `a` with each row of `b` of the same frame.

    Args:
        a: (N, 7) boxes, or (N, 4) image rectangles [left, top, right, bottom] when `image`.
        a_start: (F + 1,) int64; frame f holds rows ``a_start[f]:a_start[f + 1]``.
        b: (M, 7) or (M, 4), likewise.
        b_start: (F + 1,) likewise.
        image: Compare image rectangles.
        volume: Compare volumes, not areas.
        of_first: Over the area or volume of `a`, not over the union.

    Returns:
        Flat float64: frame after frame, row of `a` after row of `a`.
    """
    frames = len(a_start) - 1
    total = 0
    for f in range(frames):
        total += (a_start[f + 1] - a_start[f]) * (b_start[f + 1] - b_start[f])
    out, work = np.empty(total), np.empty((4, 12))
    k = 0
    for f in range(frames):
        for i in range(a_start[f], a_start[f + 1]):
            for j in range(b_start[f], b_start[f + 1]):
                if image:
                    out[k] = _image_overlap(a[i], b[j], of_first)
                else:
                    out[k] = _pair_overlap(a[i], b[j], volume, of_first, work)
                k += 1
    return out


def box_iou(a: Any, b: Any, mode: str = "bev", aligned: bool = False) -> Any:
    """Intersection over union of rotated boxes.

    Args:
        a: (N, 7) boxes [x, y, z_bottom, dx, dy, dz, yaw], numpy array or torch tensor.
        b: (M, 7) boxes of the same kind; M = N when `aligned`.
        mode: ``'bev'`` compares areas seen from above, ``'3d'`` volumes.
        aligned: Compare row i of `a` with row i of `b` only.

    Returns:
        (N, M), or (N,) when `aligned`, values 0 to 1, of the kind, dtype and device of `a`
        (float64 for integers). Boxes that only touch, or have no size, give 0. Torch results
        carry no gradient.

    Raises:
        ValueError: Wrong shape or mode, a negative size, or a value that is not finite.
        TypeError: One argument is a torch tensor and the other is not.

    Example:
        >>> a = np.array([[0.0, 0, 0, 4, 2, 1, 0]])
        >>> float(box_iou(a, a + [2, 0, 0, 0, 0, 0, 0])[0, 0])
        0.3333333333333333
    """
    return _overlap(a, b, mode, aligned, of_first=False)


def box_iof(a: Any, b: Any, mode: str = "bev", aligned: bool = False) -> Any:
    """Intersection over the first box's own area or volume; arguments as for `box_iou`."""
    return _overlap(a, b, mode, aligned, of_first=True)


def _overlap(a: Any, b: Any, mode: str, aligned: bool, of_first: bool) -> Any:
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}, wanted one of {MODES}")
    if hasattr(a, "detach") != hasattr(b, "detach"):
        raise TypeError("give two numpy arrays or two torch tensors")
    first, second = _as_float64(a, "a"), _as_float64(b, "b")
    if aligned and len(first) != len(second):
        raise ValueError(f"aligned needs as many boxes in b as in a ({len(second)}, {len(first)})")
    kernel = _aligned if aligned else _all_pairs
    result = kernel(first, second, mode == "3d", of_first)
    if hasattr(a, "detach"):
        import torch

        dtype = a.dtype if a.dtype.is_floating_point else torch.float64
        return torch.from_numpy(result).to(device=a.device, dtype=dtype)
    dtype = np.asarray(a).dtype
    return result.astype(dtype if dtype.kind == "f" else np.float64, copy=False)


def _as_float64(boxes: Any, name: str) -> np.ndarray:
    """Return checked boxes as a contiguous (N, 7) float64 array."""
    if hasattr(boxes, "detach"):
        boxes = boxes.detach().cpu().double().numpy()
    array = np.ascontiguousarray(boxes, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 7:
        raise ValueError(f"{name} has shape {array.shape}, wanted (N, 7)")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity")
    if (array[:, 3:6] < 0).any():
        raise ValueError(f"{name} holds a negative size")
    return array
