"""nuScenes detection score of resampled samples: the matches are found once.

The devkit's rules (detection_cvpr_2019; H. Caesar and others, "nuScenes: A multimodal dataset for
autonomous driving", CVPR 2020, section 4): a detection may only match a label of its own sample, so
the matches of a sample do not depend on the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

POINTS = 101
ERRORS = ("trans_err", "scale_err", "orient_err", "vel_err", "attr_err")
NOT_DEFINED = {
    "traffic_cone": ("attr_err", "vel_err", "orient_err"),
    "barrier": ("attr_err", "vel_err"),
}


@dataclass
class Matches:
    """A class's detections at one distance, by falling score.

    Attributes:
        sample: (D,) the number of the sample.
        score: (D,) scores.
        hit: (D,) whether it matches a label.
        errors: (D, 5) errors of `ERRORS`, for hits; else 0.
        labels: (S,) number of labels in each sample.
    """

    sample: np.ndarray
    score: np.ndarray
    hit: np.ndarray
    errors: np.ndarray
    labels: np.ndarray


def scorer(evaluation: Any, tokens: Sequence[str]) -> Callable[[np.ndarray], dict[str, Any]]:
    """Return a function from sample numbers to their score.

    Args:
        evaluation: The devkit's `DetectionEval`, whose boxes are filtered already.
        tokens: The samples by number.

    Returns:
        A function of (N,) numbers into `tokens`, each any number of times; its result has
        ``nd_score``, ``mean_ap``, ``tp_errors`` and ``mean_dist_aps``, as
        `kd3d.evaluation.nuscenes_score.evaluate_nuscenes` gives them.
    """
    config = evaluation.cfg
    matches = {
        (name, distance): find_matches(evaluation, tokens, name, distance)
        for name in config.class_names
        for distance in config.dist_ths
    }

    def score(samples: np.ndarray) -> dict[str, Any]:
        times = np.bincount(samples, minlength=len(tokens))
        aps, errors = {}, []
        for name in config.class_names:
            curves = {
                distance: _curves(matches[name, distance], times) for distance in config.dist_ths
            }
            of_distance = [_ap(precision, config) for precision, _, _ in curves.values()]
            aps[name] = float(np.mean(of_distance))
            _, reached, averaged = curves[config.dist_th_tp]
            errors.append(_errors(name, reached, averaged, config))
        mean_ap = float(np.mean(list(aps.values())))
        mean_errors = np.nanmean(np.array(errors), axis=0)
        scores = np.clip(1.0 - mean_errors, 0.0, None)
        nds = (config.mean_ap_weight * mean_ap + scores.sum()) / (
            config.mean_ap_weight + len(ERRORS)
        )
        return {
            "nd_score": float(nds),
            "mean_ap": mean_ap,
            "tp_errors": dict(zip(ERRORS, map(float, mean_errors))),
            "mean_dist_aps": aps,
        }

    return score


def find_matches(evaluation: Any, tokens: Sequence[str], name: str, distance_m: float) -> Matches:
    """Match a class's detections to labels, nearest first come first served by falling score."""
    number = {token: i for i, token in enumerate(tokens)}
    labels = {
        token: [b for b in evaluation.gt_boxes[token] if b.detection_name == name]
        for token in tokens
    }
    found = [box for box in evaluation.pred_boxes.all if box.detection_name == name]
    order = np.argsort([box.detection_score for box in found], kind="stable")[::-1]
    centres = {
        token: np.array([box.translation[:2] for box in boxes]).reshape(-1, 2)
        for token, boxes in labels.items()
    }
    free = {token: np.ones(len(boxes), dtype=bool) for token, boxes in labels.items()}
    hit, errors = np.zeros(len(found), dtype=bool), np.zeros((len(found), len(ERRORS)))
    for row, i in enumerate(order):
        box = found[i]
        token = box.sample_token
        off = np.linalg.norm(centres[token] - np.array(box.translation[:2]), axis=1)
        off[~free[token]] = np.inf
        if len(off) and off.min() < distance_m:
            nearest = int(off.argmin())
            free[token][nearest] = False
            hit[row] = True
            errors[row] = _pair_errors(labels[token][nearest], box, name)
    return Matches(
        np.array([number[found[i].sample_token] for i in order], dtype=int),
        np.array([found[i].detection_score for i in order], dtype=float),
        hit,
        errors,
        np.array([len(labels[token]) for token in tokens]),
    )


def _pair_errors(label: Any, box: Any, name: str) -> list[float]:
    from nuscenes.eval.common import utils

    period = np.pi if name == "barrier" else 2 * np.pi
    return [
        utils.center_distance(label, box),
        1 - utils.scale_iou(label, box),
        utils.yaw_diff(label, box, period=period),
        utils.velocity_l2(label, box),
        1 - utils.attr_acc(label, box),
    ]


def _curves(matches: Matches, times: np.ndarray) -> tuple[np.ndarray, int, np.ndarray]:
    """Return precision at 101 recalls, the last recall reached, and the averaged errors there."""
    labels = int((matches.labels * times).sum())
    chosen = np.repeat(np.arange(len(matches.score)), times[matches.sample])
    hit, score = matches.hit[chosen], matches.score[chosen]
    if not labels or not hit.any():
        return np.zeros(POINTS), 0, np.ones((POINTS, len(ERRORS)))
    true = np.cumsum(hit).astype(float)
    precision, recall = true / np.arange(1, len(hit) + 1), true / labels
    grid = np.linspace(0, 1, POINTS)
    at = np.interp(grid, recall, score, right=0)
    nonzero = np.nonzero(at)[0]
    averaged = np.stack(
        [
            np.interp(at[::-1], score[hit][::-1], _running_mean(column)[::-1])[::-1]
            for column in matches.errors[chosen][hit].T
        ],
        axis=1,
    )
    reached = int(nonzero[-1]) if len(nonzero) else 0
    return np.interp(grid, recall, precision, right=0), reached, averaged


def _running_mean(values: np.ndarray) -> np.ndarray:
    known = ~np.isnan(values)
    if not known.any():
        return np.ones(len(values))
    counts = np.cumsum(known)
    return np.divide(np.nancumsum(values), counts, out=np.zeros(len(values)), where=counts != 0)


def _ap(precision: np.ndarray, config: Any) -> float:
    above = precision[round(100 * config.min_recall) + 1 :] - config.min_precision
    return float(np.mean(np.clip(above, 0.0, None))) / (1.0 - config.min_precision)


def _errors(name: str, reached: int, averaged: np.ndarray, config: Any) -> list[float]:
    first = round(100 * config.min_recall) + 1
    whole = averaged[first : reached + 1]
    values = whole.mean(axis=0) if reached >= first else np.ones(len(ERRORS))
    undefined = NOT_DEFINED.get(name, ())
    return [
        float("nan") if key in undefined else float(value) for key, value in zip(ERRORS, values)
    ]
