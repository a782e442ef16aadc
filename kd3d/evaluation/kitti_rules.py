"""The rules of the KITTI object benchmark: who is counted, at which overlap, at which points.

Source: A. Geiger, P. Lenz, R. Urtasun, "Are we ready for autonomous driving? The KITTI vision
benchmark suite", CVPR 2012, with its development kit's readme; 40 recall points after
A. Simonelli et al., "Disentangling monocular 3D object detection", ICCV 2019.
"""

from __future__ import annotations

import numpy as np

from kd3d.data.kitti_files import Labels

DIFFICULTIES = ("easy", "moderate", "hard")
METRICS = ("2D", "BEV", "3D")  # overlaps that are computed; AOS shares the matching of 2D
REPORTED = ("2D", "BEV", "3D", "AOS")
OVERLAPS = ("strict", "loose")
AVERAGES = ("AP40", "AP11")
RECALL_POINTS = 41

MIN_HEIGHT_PX = {"easy": 40.0, "moderate": 25.0, "hard": 25.0}
MAX_OCCLUSION = {"easy": 0, "moderate": 1, "hard": 2}
MAX_TRUNCATION = {"easy": 0.15, "moderate": 0.3, "hard": 0.5}
NEIGHBOUR = {"Car": "Van", "Pedestrian": "Person_sitting"}  # neither missed nor false
MIN_OVERLAP = {
    "strict": {"Car": 0.7, "Pedestrian": 0.5, "Cyclist": 0.5},
    "loose": {"Car": 0.5, "Pedestrian": 0.25, "Cyclist": 0.25},
}
NO_ALPHA = -10.0

COUNTED, IGNORED, ABSENT = 0, 1, -1  # values of the flags below


def min_overlap(metric: str, overlap: str, class_name: str) -> float:
    """Overlap a detection must exceed; the loose set leaves the image (2D, AOS) as it is."""
    return MIN_OVERLAP["strict" if metric in ("2D", "AOS") else overlap][class_name]


def flag_ground_truth(labels: Labels, class_name: str, difficulty: str) -> np.ndarray:
    """Return (N,) int8: COUNTED, IGNORED (too hard, or a neighbour class) or ABSENT.

    A label exactly as high as the limit is too small; one exactly at the truncation limit counts.
    """
    height = labels.bbox[:, 3] - labels.bbox[:, 1]
    too_hard = (
        (labels.occluded > MAX_OCCLUSION[difficulty])
        | (labels.truncated > MAX_TRUNCATION[difficulty])
        | (height <= MIN_HEIGHT_PX[difficulty])
    )
    same = labels.name == class_name
    flags = np.full(len(labels), ABSENT, dtype=np.int8)
    flags[same] = COUNTED
    flags[same & too_hard] = IGNORED
    flags[labels.name == NEIGHBOUR.get(class_name)] = IGNORED
    return flags


def flag_detections(detections: Labels, class_name: str, difficulty: str) -> np.ndarray:
    """Return (N,) int8: COUNTED, IGNORED (lower than the limit, whatever its class) or ABSENT."""
    height = np.abs(detections.bbox[:, 3] - detections.bbox[:, 1])
    flags = np.where(detections.name == class_name, COUNTED, ABSENT).astype(np.int8)
    flags[height < MIN_HEIGHT_PX[difficulty]] = IGNORED
    return flags


def recall_thresholds(scores: np.ndarray, labels: int) -> np.ndarray:
    """Scores at which precision is sampled, nearest to the recalls 0, 1/40, ..., 1.

    Args:
        scores: (T,) scores of the true positives of all frames.
        labels: Number of counted labels.

    Returns:
        (K,) descending, K <= 41 and at most one for each true positive.
    """
    ordered = np.sort(scores)[::-1]
    chosen: list[float] = []
    recall = 0.0
    for i, score in enumerate(ordered):
        here, following = (i + 1) / labels, (i + 2) / labels
        if i < len(ordered) - 1 and following - recall < recall - here:
            continue
        chosen.append(score)
        recall += 1.0 / (RECALL_POINTS - 1)
    return np.array(chosen[:RECALL_POINTS], dtype=np.float64)


def average_precision(curve: np.ndarray) -> dict[str, float]:
    """Return AP40 and AP11 in percent of a (41,) curve with values 0 to 1."""
    return {
        "AP40": float(curve[1:].sum() / (RECALL_POINTS - 1) * 100),
        "AP11": float(curve[::4].sum() / 11 * 100),
    }


def attainable(labels: int) -> dict[str, float]:
    """Return the AP40 and AP11 of flawless detections of `labels` counted labels.

    The benchmark samples at most one point for each label, the first at recall 0, which AP40
    leaves out: with n labels AP40 cannot exceed ``(min(n, 41) - 1) / 40``.
    """
    return average_precision((np.arange(RECALL_POINTS) < labels).astype(np.float64))
