"""KITTI average precision on the CPU: 2D, BEV, 3D and AOS, AP40 and AP11.

Equal to the official C++ program of the development kit; the rules are in `kitti_rules`, the
matching in `kitti_matching`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kd3d.data.kitti_files import CLASSES, Labels
from kd3d.errors import UserError
from kd3d.evaluation.kitti_matching import count_at_thresholds, true_positive_scores
from kd3d.evaluation.kitti_pairs import FramePairs, build_pairs
from kd3d.evaluation.kitti_rules import (
    AVERAGES,
    COUNTED,
    DIFFICULTIES,
    METRICS,
    NO_ALPHA,
    OVERLAPS,
    RECALL_POINTS,
    REPORTED,
    attainable,
    average_precision,
    flag_detections,
    flag_ground_truth,
    min_overlap,
    recall_thresholds,
)


def evaluate_kitti(
    ground_truth: Sequence[Labels], detections: Sequence[Labels], curves: bool = False
) -> dict[str, Any]:
    """Score detections by the rules of the KITTI object benchmark.

    Args:
        ground_truth: One `Labels` for each frame, DontCare rows included.
        detections: One `Labels` with scores for each frame, in the same order.
        curves: Add the sampled curves.

    Returns:
        ``result[class][metric][average][overlap]`` is ``[easy, moderate, hard]`` in percent, with
        class Car, Pedestrian, Cyclist; metric 3D, BEV, 2D, AOS; average AP40, AP11; overlap
        strict, loose. ``result['notes']`` lists what explains a zero or a ceiling: a class
        without labels or detections, fewer than 41 counted labels, orientations not given.
        With `curves`, ``result['curves']`` has ``recall`` (41 values, 0 to 1) and
        ``[class][metric][overlap]``, three lists of 41 precisions (for AOS: orientation
        similarities), 0 to 1, never rising.

    Raises:
        UserError: No frames, or a detection without a score.
        ValueError: Different numbers of frames.
    """
    if len(ground_truth) != len(detections):
        raise ValueError(f"{len(ground_truth)} label frames, {len(detections)} detection frames")
    if not len(ground_truth):
        raise UserError("no frames to evaluate")
    pairs = build_pairs(ground_truth, detections)
    _check_scores(pairs)
    sampled = {name: _class_curves(pairs, name) for name in CLASSES}
    result: dict[str, Any] = {name: _averages(sampled[name]) for name in CLASSES}
    result["notes"] = _notes(pairs)
    if curves:
        recall = [i / (RECALL_POINTS - 1) for i in range(RECALL_POINTS)]
        result["curves"] = {"recall": recall} | {
            name: {
                metric: {o: sampled[name][metric, o].tolist() for o in OVERLAPS}
                for metric in REPORTED
            }
            for name in CLASSES
        }
    return result


def _class_curves(pairs: FramePairs, class_name: str) -> dict[tuple[str, str], np.ndarray]:
    """Return (3, 41) curves, one row a difficulty, by metric and overlap."""
    out = {(m, o): np.zeros((len(DIFFICULTIES), RECALL_POINTS)) for m in REPORTED for o in OVERLAPS}
    oriented = not (pairs.detections.alpha == NO_ALPHA).any()
    for row, difficulty in enumerate(DIFFICULTIES):
        flags = (
            flag_ground_truth(pairs.labels, class_name, difficulty),
            flag_detections(pairs.detections, class_name, difficulty),
        )
        known: dict[tuple[str, float], tuple[np.ndarray, np.ndarray]] = {}
        for metric in METRICS:
            for overlap in OVERLAPS:
                key = metric, min_overlap(metric, overlap, class_name)
                if key not in known:
                    known[key] = sample_curves(pairs, *flags, *key)
                out[metric, overlap][row] = known[key][0]
                if metric == "2D" and oriented:
                    out["AOS", overlap][row] = known[key][1]
    return out


def sample_curves(
    pairs: FramePairs, label_flag: np.ndarray, flag: np.ndarray, metric: str, limit: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the precision and the orientation similarity at 41 recalls, (41,) each, 0 to 1.

    Each point holds the best value at its recall or a higher one, as the benchmark asks.
    """
    curves = np.zeros((2, RECALL_POINTS))
    labels = int((label_flag == COUNTED).sum())
    found = pairs.detections
    matching = (
        label_flag, pairs.label_start, flag, pairs.detection_start, found.score,
        pairs.iou[metric], limit,
    )  # fmt: skip
    scores = true_positive_scores(*matching)
    if len(scores):
        thresholds = recall_thresholds(scores, labels)
        true, false, similarity = count_at_thresholds(
            *matching, pairs.covered[metric], pairs.area_start, pairs.labels.alpha, found.alpha,
            thresholds,
        ).T  # fmt: skip
        judged = np.maximum(true + false, 1.0)
        curves[0, : len(thresholds)] = true / judged
        curves[1, : len(thresholds)] = similarity / judged
    precision, similarity = np.maximum.accumulate(curves[:, ::-1], axis=1)[:, ::-1]
    return precision, similarity


def _averages(sampled: dict[tuple[str, str], np.ndarray]) -> dict[str, Any]:
    return {
        metric: {
            average: {
                overlap: [average_precision(c)[average] for c in sampled[metric, overlap]]
                for overlap in OVERLAPS
            }
            for average in AVERAGES
        }
        for metric in ("3D", "BEV", "2D", "AOS")
    }


def _check_scores(pairs: FramePairs) -> None:
    bad = np.flatnonzero(~np.isfinite(pairs.detections.score))
    if len(bad):
        frame = int(np.searchsorted(pairs.detection_start, bad[0], side="right")) - 1
        raise UserError(
            f"{len(bad)} detections have no score", f"frame number {frame}", "add the 16th column"
        )


def _notes(pairs: FramePairs) -> list[str]:
    notes = []
    for name in CLASSES:
        for what, rows in (("labels", pairs.labels), ("detections", pairs.detections)):
            if not (rows.name == name).any():
                notes.append(f"{name}: no {what}, AP is 0")
        counts = [
            int((flag_ground_truth(pairs.labels, name, d) == COUNTED).sum()) for d in DIFFICULTIES
        ]
        if min(counts) < RECALL_POINTS and (pairs.labels.name == name).any():
            ceilings = ", ".join(f"{attainable(count)['AP40']:.1f}" for count in counts)
            notes.append(
                f"{name}: {', '.join(map(str, counts))} counted labels ({', '.join(DIFFICULTIES)}),"
                f" AP40 cannot exceed {ceilings}"
            )
    if (pairs.detections.alpha == NO_ALPHA).any():
        notes.append("AOS is 0: at least one detection has no alpha (-10)")
    return notes
