"""KITTI AP of resampled frames: the overlaps are computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kd3d.data.kitti_files import CLASSES, Labels
from kd3d.evaluation.kitti_ap import sample_curves
from kd3d.evaluation.kitti_pairs import FramePairs, build_pairs
from kd3d.evaluation.kitti_rules import (
    average_precision,
    flag_detections,
    flag_ground_truth,
    min_overlap,
)

SCORED = (("3D", "strict"), ("3D", "loose"), ("BEV", "strict"))


def scorer(
    ground_truth: Sequence[Labels], detections: Sequence[Labels]
) -> Callable[[np.ndarray], dict[str, Any]]:
    """Return a function from frame numbers to their result.

    Args:
        ground_truth: One `Labels` for each frame.
        detections: Likewise, with scores.

    Returns:
        A function of (N,) frame numbers, each any number of times. Its result has the form of
        `kd3d.evaluation.kitti_ap.evaluate_kitti`, with moderate AP40 of `SCORED` alone (0 for
        easy and hard).
    """
    pairs = build_pairs(ground_truth, detections)

    def score(frames: np.ndarray) -> dict[str, Any]:
        drawn = take(pairs, frames)
        result: dict[str, Any] = {}
        for name in CLASSES:
            flags = (
                flag_ground_truth(drawn.labels, name, "moderate"),
                flag_detections(drawn.detections, name, "moderate"),
            )
            result[name] = {"3D": {"AP40": {}}, "BEV": {"AP40": {}}}
            for metric, overlap in SCORED:
                limit = min_overlap(metric, overlap, name)
                precision, _ = sample_curves(drawn, *flags, metric, limit)
                value = average_precision(precision)["AP40"]
                result[name][metric]["AP40"][overlap] = [0.0, value, 0.0]
        return result

    return score


def take(pairs: FramePairs, frames: np.ndarray) -> FramePairs:
    """Return the pairs of some frames, each any number of times, in the given order."""
    labels, label_start = rows(pairs.label_start, frames)
    found, found_start = rows(pairs.detection_start, frames)
    _, area_start = rows(pairs.area_start, frames)
    counts = np.diff(pairs.detection_start)
    blocks, _ = rows(_starts(counts * np.diff(pairs.label_start)), frames)
    area_blocks, _ = rows(_starts(counts * np.diff(pairs.area_start)), frames)
    return FramePairs(
        pairs.labels[labels],
        pairs.detections[found],
        label_start,
        found_start,
        area_start,
        {metric: values[blocks] for metric, values in pairs.iou.items()},
        {metric: values[area_blocks] for metric, values in pairs.covered.items()},
    )


def rows(start: np.ndarray, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of some frames, and where each frame starts among them.

    Args:
        start: (F + 1,) frame f holds rows ``start[f]:start[f + 1]``.
        frames: (N,) frame numbers.
    """
    lengths = start[frames + 1] - start[frames]
    new = _starts(lengths)
    return np.arange(new[-1]) + np.repeat(start[frames] - new[:-1], lengths), new


def _starts(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
