"""Greedy matching of detections to labels by the KITTI benchmark's rules, compiled for the CPU.

Labels are served in file order. To find the recall thresholds a label takes the free detection
with the highest score; to count at a threshold it takes the one with the largest overlap, and a
detection too small to be judged only while no other fits. A neighbour class or a label that is
too hard takes its detection out of the count. Source: the development kit named in
`kitti_rules`. Flags are those of `kitti_rules`; the other arrays are those of `FramePairs`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from kd3d.evaluation.kitti_rules import ABSENT, COUNTED, IGNORED


@njit(cache=True, nogil=True)
def true_positive_scores(
    label_flag, label_start, flag, start, score, iou, min_overlap
):  # pragma: no cover (compiled)
    """Return the scores of the true positives with no threshold, (T,) float64."""
    out = np.empty(len(label_flag))
    free = np.ones(len(flag), dtype=np.bool_)
    count, base = 0, 0
    for f in range(len(start) - 1):
        first, last = start[f], start[f + 1]
        labels = label_start[f + 1] - label_start[f]
        for g in range(labels):
            kind = label_flag[label_start[f] + g]
            if kind == ABSENT:
                continue
            best = -1
            for d in range(first, last):
                if flag[d] == ABSENT or not free[d]:
                    continue
                if iou[base + (d - first) * labels + g] > min_overlap and (
                    best < 0 or score[d] > score[best]
                ):
                    best = d
            if best < 0:
                continue
            free[best] = False
            if kind == COUNTED and flag[best] == COUNTED:
                out[count] = score[best]
                count += 1
        base += (last - first) * labels
    return out[:count]


@njit(cache=True, nogil=True)
def _best_detection(
    first, last, labels, g, base, flag, score, free, iou, min_overlap, threshold
):  # pragma: no cover (compiled)
    """Index of the detection that label g of a frame takes, or -1."""
    best, best_overlap, best_is_small = -1, 0.0, False
    for d in range(first, last):
        if flag[d] == ABSENT or not free[d] or score[d] < threshold:
            continue
        overlap = iou[base + (d - first) * labels + g]
        if overlap <= min_overlap:
            continue
        if flag[d] == COUNTED and (overlap > best_overlap or best_is_small):
            best, best_overlap, best_is_small = d, overlap, False
        elif flag[d] == IGNORED and best < 0:
            best, best_is_small = d, True
    return best


@njit(cache=True, nogil=True)
def count_at_thresholds(
    label_flag, label_start, flag, start, score, iou, min_overlap,
    covered, area_start, label_alpha, alpha, thresholds,
):  # pragma: no cover (compiled)  # fmt: skip
    """Count true and false positives at each threshold.

    Returns:
        (K, 3) float64: true positives, false positives, and the sum over the true positives of
        the orientation similarity ``(1 + cos(alpha_label - alpha_detection)) / 2``.
    """
    out = np.zeros((len(thresholds), 3))
    free = np.empty(len(flag), dtype=np.bool_)
    base, area_base = 0, 0
    for f in range(len(start) - 1):
        first, last = start[f], start[f + 1]
        labels, areas = label_start[f + 1] - label_start[f], area_start[f + 1] - area_start[f]
        for k in range(len(thresholds)):
            threshold = thresholds[k]
            free[first:last] = True
            for g in range(labels):
                label = label_start[f] + g
                if label_flag[label] == ABSENT:
                    continue
                d = _best_detection(
                    first, last, labels, g, base, flag, score, free, iou, min_overlap, threshold
                )
                if d < 0:
                    continue
                free[d] = False
                if label_flag[label] == COUNTED and flag[d] == COUNTED:
                    out[k, 0] += 1.0
                    out[k, 2] += 0.5 * (1.0 + np.cos(label_alpha[label] - alpha[d]))
            for d in range(first, last):
                if not free[d] or flag[d] != COUNTED or score[d] < threshold:
                    continue
                row = area_base + (d - first) * areas
                inside = False
                for area in range(areas):
                    inside = inside or covered[row + area] > min_overlap
                if not inside:
                    out[k, 1] += 1.0
        base += (last - first) * labels
        area_base += (last - first) * areas
    return out
