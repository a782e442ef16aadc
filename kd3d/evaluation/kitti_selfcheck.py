"""Does the evaluation give labels, fed as predictions, the full mark that the rules allow?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kd3d.data.kitti_files import CLASSES, Labels
from kd3d.evaluation.kitti_ap import evaluate_kitti
from kd3d.evaluation.kitti_pairs import FramePairs, build_pairs
from kd3d.evaluation.kitti_rules import (
    AVERAGES,
    COUNTED,
    DIFFICULTIES,
    IGNORED,
    NO_ALPHA,
    OVERLAPS,
    REPORTED,
    attainable,
    flag_detections,
    flag_ground_truth,
    min_overlap,
)

TOLERANCE = 1e-6


def labels_as_predictions(labels: Labels, score: float = 1.0) -> Labels:
    """Return the rows of the evaluated classes with a score, as a flawless detector would."""
    kept = labels[np.isin(labels.name.astype(str), CLASSES)]
    kept.score = np.full(len(kept), score)
    return kept


def self_check(ground_truth: Sequence[Labels]) -> dict[str, Any]:
    """Evaluate labels against themselves and compare with what the rules allow.

    With n counted labels the most is ``attainable(n)``: 100 from 41 labels on. Two labels of one
    frame that overlap beyond the limit, one of them not counted, may take each other's
    prediction; such a value is listed as blocked and not judged.

    Args:
        ground_truth: One `Labels` for each frame.

    Returns:
        ``ok``; ``labels`` and ``expected`` by class (three numbers; AP40 and AP11 in percent);
        ``result`` of `evaluate_kitti`; ``failures`` and ``blocked``, lists of sentences.
    """
    predictions = [labels_as_predictions(frame) for frame in ground_truth]
    result = evaluate_kitti(ground_truth, predictions)
    pairs = build_pairs(ground_truth, predictions)
    report: dict[str, Any] = {"labels": {}, "expected": {}, "failures": [], "blocked": []}
    for name in CLASSES:
        counts = [
            int((flag_ground_truth(pairs.labels, name, d) == COUNTED).sum()) for d in DIFFICULTIES
        ]
        report["labels"][name] = counts
        report["expected"][name] = {a: [attainable(n)[a] for n in counts] for a in AVERAGES}
        _compare(pairs, name, result[name], report)
    return {"ok": not report["failures"], **report, "result": result}


def _compare(pairs: FramePairs, name: str, got: dict[str, Any], report: dict[str, Any]) -> None:
    """Append to the failures and the blocked values of one class."""
    oriented = not (pairs.detections.alpha == NO_ALPHA).any()
    for metric in REPORTED if oriented else [m for m in REPORTED if m != "AOS"]:
        for overlap in OVERLAPS:
            for row, difficulty in enumerate(DIFFICULTIES):
                pair_count = _contested(pairs, name, metric, overlap, difficulty)
                for average in AVERAGES:
                    value = got[metric][average][overlap][row]
                    wanted = report["expected"][name][average][row]
                    if abs(value - wanted) <= TOLERANCE:
                        continue
                    line = f"{name} {metric} {average} {difficulty} {overlap}: {value:.4f}"
                    line += f", the rules allow {wanted:.4f}"
                    if pair_count:
                        report["blocked"].append(f"{line} ({pair_count} contested pairs)")
                    else:
                        report["failures"].append(line)


def _contested(pairs: FramePairs, name: str, metric: str, overlap: str, difficulty: str) -> int:
    """Count pairs of a prediction and a foreign label that fit, exactly one of them counted."""
    labels, found = pairs.labels, pairs.detections
    label_flag = flag_ground_truth(labels, name, difficulty)
    flag = flag_detections(found, name, difficulty)
    own = np.flatnonzero(np.isin(labels.name.astype(str), CLASSES))
    detection, label = _pair_indices(pairs)
    fits = pairs.iou["2D" if metric == "AOS" else metric] > min_overlap(metric, overlap, name)
    first, second = flag[detection], label_flag[label]
    uneven = ((first == COUNTED) & (second == IGNORED)) | ((first == IGNORED) & (second == COUNTED))
    return int((fits & uneven & (own[detection] != label)).sum())


def _pair_indices(pairs: FramePairs) -> tuple[np.ndarray, np.ndarray]:
    """Return for each value of ``pairs.iou`` the row of its detection and of its label."""
    labels_of_frame = np.diff(pairs.label_start)
    frame_of_detection = np.repeat(np.arange(len(labels_of_frame)), np.diff(pairs.detection_start))
    repeats = labels_of_frame[frame_of_detection]
    detection = np.repeat(np.arange(len(pairs.detections)), repeats)
    within = np.arange(len(detection)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    return detection, pairs.label_start[frame_of_detection[detection]] + within
