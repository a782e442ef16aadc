"""The KITTI protocol once more, in plain loops: the slow peer that `kitti_ap` is checked against.

Shares no code with the fast evaluation: own polygon clipping in the plane, own matching, one
label and one detection at a time. Source of the rules: see `kitti_rules`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from kd3d.data.kitti_files import Labels

LIMITS = ((40, 0, 0.15), (25, 1, 0.3), (25, 2, 0.5))  # height, occlusion, truncation
NEIGHBOURS = {"Car": "Van", "Pedestrian": "Person_sitting", "Cyclist": None}
Point = tuple[float, float]


def polygon_area(polygon: Sequence[Point]) -> float:
    """Return the area of a polygon, in the square of its unit."""
    pairs = zip(polygon, [*polygon[1:], *polygon[:1]])
    return abs(sum(p[0] * q[1] - q[0] * p[1] for p, q in pairs)) / 2


def clip_convex(subject: list[Point], window: list[Point]) -> list[Point]:
    """Return the part of a polygon inside a convex, counter-clockwise window."""
    for p, q in zip(window, [*window[1:], window[0]]):
        kept: list[Point] = []
        sides = [(q[0] - p[0]) * (s[1] - p[1]) - (q[1] - p[1]) * (s[0] - p[0]) for s in subject]
        for i, here in enumerate(subject):
            j = (i + 1) % len(subject)
            if sides[i] >= 0:
                kept.append(here)
            if sides[i] * sides[j] < 0:
                t = sides[i] / (sides[i] - sides[j])
                there = subject[j]
                kept.append(
                    (here[0] + t * (there[0] - here[0]), here[1] + t * (there[1] - here[1]))
                )
        subject = kept
    return subject


def ground_rectangle(labels: Labels, i: int) -> list[Point]:
    """Return the four corners (x, z) in metres of a label seen from above."""
    _, width, length = labels.dimensions[i]
    cos, sin = math.cos(labels.rotation_y[i]), math.sin(labels.rotation_y[i])
    x, z = labels.location[i, 0], labels.location[i, 2]
    corners = [(length, width), (-length, width), (-length, -width), (length, -width)]
    return [(x + (cos * a + sin * b) / 2, z + (cos * b - sin * a) / 2) for a, b in corners]


def overlap(
    found: Labels, d: int, labels: Labels, g: int, metric: str, of_first: bool = False
) -> float:
    """Return the overlap of detection d with label g: over the union, or over the detection."""
    if metric == "2D":
        p, q = found.bbox[d], labels.bbox[g]
        width, height = min(p[2], q[2]) - max(p[0], q[0]), min(p[3], q[3]) - max(p[1], q[1])
        shared = width * height if width > 0 and height > 0 else 0.0
        first, second = (p[2] - p[0]) * (p[3] - p[1]), (q[2] - q[0]) * (q[3] - q[1])
    else:
        p, q = ground_rectangle(found, d), ground_rectangle(labels, g)
        shared, first, second = polygon_area(clip_convex(p, q)), polygon_area(p), polygon_area(q)
    if metric == "3D":
        tall, other = found.dimensions[d, 0], labels.dimensions[g, 0]
        bottom, below = found.location[d, 1], labels.location[g, 1]
        shared *= max(0.0, min(bottom, below) - max(bottom - tall, below - other))
        first, second = first * tall, second * other
    whole = first if of_first else first + second - shared
    return shared / whole if whole > 0 else 0.0


def naive_curve(
    ground_truth: Sequence[Labels],
    detections: Sequence[Labels],
    class_name: str,
    metric: str,
    difficulty: int,
    limit: float,
) -> tuple[list[float], list[float]]:
    """Return 41 precisions and 41 orientation similarities, 0 to 1.

    Args:
        ground_truth: Labels by frame.
        detections: Detections by frame.
        class_name: Car, Pedestrian or Cyclist.
        metric: 2D, BEV or 3D.
        difficulty: 0 easy, 1 moderate, 2 hard.
        limit: Overlap to exceed.
    """
    frames = list(zip(ground_truth, detections))
    how = (class_name, metric, difficulty, limit)
    first = [_match(labels, found, *how, None) for labels, found in frames]
    scores = sorted((s for hits, _, _ in first for s, _ in hits), reverse=True)
    counted = sum(count for _, _, count in first)
    thresholds, recall = [], 0.0
    for i, score in enumerate(scores):
        last = i == len(scores) - 1
        if not last and (i + 2) / counted - recall < recall - (i + 1) / counted:
            continue
        thresholds.append(score)
        recall += 1 / 40
    precision, similarity = [0.0] * 41, [0.0] * 41
    for k, threshold in enumerate(thresholds):
        matched = [_match(labels, found, *how, threshold) for labels, found in frames]
        hits = [hit for part, _, _ in matched for hit in part]
        judged = len(hits) + sum(false for _, false, _ in matched)
        if judged:
            precision[k] = len(hits) / judged
            similarity[k] = sum(turn for _, turn in hits) / judged
    best = [max(precision[i:]) for i in range(41)]
    return best, [max(similarity[i:]) for i in range(41)]


def _match(
    labels: Labels,
    found: Labels,
    class_name: str,
    metric: str,
    difficulty: int,
    limit: float,
    threshold: float | None,
) -> tuple[list[tuple[float, float]], int, int]:
    """Return the hits (score, similarity), the false positives and the counted labels."""
    height, occlusion, truncation = LIMITS[difficulty]
    small = [bool(abs(b[3] - b[1]) < height) for b in found.bbox]
    usable = [
        d
        for d in range(len(found))
        if (small[d] or found.name[d] == class_name)
        and (threshold is None or found.score[d] >= threshold)
    ]
    hits: list[tuple[float, float]] = []
    counted = 0
    for g in range(len(labels)):
        if labels.name[g] not in (class_name, NEIGHBOURS[class_name]):
            continue
        box = labels.bbox[g]
        counts = labels.name[g] == class_name and not (
            labels.occluded[g] > occlusion
            or labels.truncated[g] > truncation
            or box[3] - box[1] <= height
        )
        counted += counts
        over = {d: overlap(found, d, labels, g, metric) for d in usable}
        fits = [d for d in usable if over[d] > limit]
        if not fits:
            continue
        if threshold is None:
            taken = max(fits, key=lambda d: found.score[d])
        else:
            judged = [d for d in fits if not small[d]]
            taken = max(judged, key=lambda d: over[d]) if judged else fits[0]
        usable.remove(taken)
        if counts and not small[taken]:
            turn = (1 + math.cos(labels.alpha[g] - found.alpha[taken])) / 2
            hits.append((float(found.score[taken]), turn))
    areas = [g for g in range(len(labels)) if labels.name[g] == "DontCare"]
    false = sum(
        not small[d] and not any(overlap(found, d, labels, g, metric, True) > limit for g in areas)
        for d in usable
    )
    return hits, false, counted
