"""From the graph's raw head outputs to boxes."""

from __future__ import annotations

from typing import Any

import numpy as np

from kd3d.deploy.runtime.overlap import suppress_near, suppress_rotated, suppress_upright

Arrays = dict[str, np.ndarray]
_BEV = [0, 1, 3, 4, 6]


def decode(outputs: Arrays, spec: dict[str, Any], anchors: list[np.ndarray] | None) -> Arrays:
    """Return the detections of one frame.

    Args:
        outputs: The graph's outputs, without the batch axis of 1 or with it.
        spec: ``head`` of ``model.json``.
        anchors: Of an anchor head, (H W A, 7 or more) a level.

    Returns:
        ``boxes`` (N, 7) or (N, 9) float32: x, y, z of the bottom's middle, dx along the heading,
        dy, dz in metres, yaw in radians counter-clockwise from x, and vx, vy where the model has
        them; ``scores`` (N,) in 0..1; ``labels`` (N,) int64, places in the list of classes.
    """
    if spec["type"] == "anchors":
        assert anchors is not None, "an anchor head comes with its anchors"
        return _decode_anchors(outputs, spec, anchors)
    found, first = [], 0
    for task, classes in enumerate(spec["classes_a_task"]):
        maps = {
            name.split("_", 1)[1]: value.reshape(value.shape[-3:])
            for name, value in outputs.items()
            if name.startswith(f"task{task}_")
        }
        one = _decode_centres(maps, spec)
        one = _suppressed(one, spec, task)
        one["labels"] = (one["labels"] if classes > 1 else 0 * one["labels"]) + first
        found.append(one)
        first += classes
    joined = {key: np.concatenate([one[key] for one in found]) for key in found[0]}
    joined["boxes"][:, 2] -= joined["boxes"][:, 5] / 2
    return joined


def _decode_centres(maps: Arrays, spec: dict[str, Any]) -> Arrays:
    """Return the best peaks of one task; z is still the middle's."""
    _, _, columns = maps["heatmap"].shape
    scores = _sigmoid(maps["heatmap"]).reshape(-1)
    best = np.argsort(-scores, kind="stable")[: spec["max_num"]]
    label, cell = np.divmod(best, maps["heatmap"][0].size)
    at = {name: value.reshape(len(value), -1)[:, cell] for name, value in maps.items()}
    column, row = (cell % columns).astype(np.float32), (cell // columns).astype(np.float32)
    offset = at.get("reg", np.full((2, len(cell)), 0.5, dtype=np.float32))
    step = np.float32(spec["out_size_factor"]) * np.asarray(spec["voxel_size"], dtype=np.float32)
    x = (column + offset[0]) * step[0] + np.float32(spec["low"][0])
    y = (row + offset[1]) * step[1] + np.float32(spec["low"][1])
    size = np.exp(at["dim"]) if spec["log_sizes"] else at["dim"]
    yaw = np.arctan2(at["rot"][0], at["rot"][1])
    rest = [at["vel"]] if "vel" in at else []
    boxes = np.concatenate([[x, y, at["height"][0]], size, yaw[None], *rest]).T.astype(np.float32)
    scores, keep = scores[best], _within(boxes, spec["keep_range"])
    if spec["decode_score"]:
        keep &= scores > spec["decode_score"]
    return {"boxes": boxes[keep], "scores": scores[keep], "labels": label[keep]}


def _suppressed(one: Arrays, spec: dict[str, Any], task: int) -> Arrays:
    if spec["suppress"] == "circle":
        middles, radius = one["boxes"][:, :2], spec["min_radius"][task]
        kept = suppress_near(middles, one["scores"], radius, spec["most_after"])
        return {key: value[kept] for key, value in one.items()}
    if spec["score"] > 0:
        enough = one["scores"] >= np.float32(spec["score"])
        one = {key: value[enough] for key, value in one.items()}
    first = np.argsort(-one["scores"], kind="stable")[: spec["most_before"]]
    one = {key: value[first] for key, value in one.items()}
    kept = suppress_rotated(one["boxes"][:, _BEV], one["scores"], spec["overlap"])
    one = {key: value[kept[: spec["most_after"]]] for key, value in one.items()}
    inside = _within(one["boxes"], spec["final_range"])
    return {key: value[inside] for key, value in one.items()}


def _decode_anchors(outputs: Arrays, spec: dict[str, Any], anchors: list[np.ndarray]) -> Arrays:
    boxes, scores, directions = [], [], []
    for level, own in enumerate(anchors):
        rows = [
            outputs[f"level{level}_{name}"].reshape(outputs[f"level{level}_{name}"].shape[-3:])
            for name in ("cls", "box", "dir")
        ]
        widths = (spec["classes"], own.shape[1], 2)
        score, delta, direction = (
            value.transpose(1, 2, 0).reshape(-1, width) for value, width in zip(rows, widths)
        )
        score = _sigmoid(score)
        first = np.arange(len(score))
        if 0 < spec["most_before"] < len(score):
            first = np.argsort(-score.max(1), kind="stable")[: spec["most_before"]]
        boxes.append(_from_anchors(own[first], delta[first]))
        scores.append(score[first])
        directions.append(direction[first].argmax(1))
    parts = [np.concatenate(one) for one in (boxes, scores, directions)]
    return _by_class(parts[0], parts[1], parts[2], spec)


def _from_anchors(anchors: np.ndarray, delta: np.ndarray) -> np.ndarray:
    """Return the boxes that `delta` (N, 7 or more) makes of `anchors`, as SECOND's coder does."""
    diagonal = np.hypot(anchors[:, 3], anchors[:, 4])[:, None]
    middle = anchors[:, :3] + [[0, 0, 0.5]] * anchors[:, 5:6]
    scale = np.concatenate([diagonal, diagonal, anchors[:, 5:6]], 1)
    size = np.exp(delta[:, 3:6]) * anchors[:, 3:6]
    place = delta[:, :3] * scale + middle
    place[:, 2] -= size[:, 2] / 2
    return np.concatenate([place, size, delta[:, 6:] + anchors[:, 6:]], 1).astype(np.float32)


def _by_class(
    boxes: np.ndarray, scores: np.ndarray, directions: np.ndarray, spec: dict[str, Any]
) -> Arrays:
    suppress = suppress_rotated if spec["suppress"] == "rotated" else suppress_upright
    places, labels = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for number in range(spec["classes"]):
        enough = np.flatnonzero(scores[:, number] > spec["score"])
        kept = suppress(boxes[enough][:, _BEV], scores[enough, number], spec["overlap"])
        places.append(enough[kept])
        labels.append(np.full(len(kept), number))
    place, label = np.concatenate(places), np.concatenate(labels)
    score = scores[place, label]
    if len(place) > spec["most_after"]:
        best = np.argsort(-score, kind="stable")[: spec["most_after"]]
        place, label, score = place[best], label[best], score[best]
    found = boxes[place]
    turned = found[:, 6] - spec["dir_offset"]
    turned -= np.floor(turned / np.pi + spec["dir_limit_offset"]) * np.pi
    found[:, 6] = turned + spec["dir_offset"] + np.pi * directions[place]
    return {"boxes": found, "scores": score, "labels": label}


def _within(boxes: np.ndarray, limits: list[float]) -> np.ndarray:
    if not limits:
        return np.ones(len(boxes), dtype=bool)
    low, high = np.split(np.asarray(limits, dtype=np.float32), 2)
    return ((boxes[:, :3] >= low) & (boxes[:, :3] <= high)).all(1)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values.astype(np.float32)))
