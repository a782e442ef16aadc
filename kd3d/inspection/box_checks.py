"""Do the labelled boxes fit the model: range, points, anchors?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from kd3d.core.probe import bev_grid
from kd3d.core.taps import head_of
from kd3d.doctor import FAIL, OK, WARN, Verdict
from kd3d.inspection.raw_data import RawFrame
from kd3d.models.point_ops.boxes import points_in_boxes_all

MOST_INSIDE, FEW_INSIDE = 0.9, 0.5  # shares of boxes: below the first a warning, the second a fault
MOST_EMPTY = 0.3  # share of boxes without points from which it is a warning
ANCHORED = 0.5  # share of boxes that an anchor's size fits


def limits(model: Any) -> list[float] | None:
    """Return a detector's range [x, y, z, x, y, z] in metres; z is infinite for lifted maps."""
    layer = getattr(model.data_preprocessor, "voxel_layer", None)
    if layer is not None:
        return [float(value) for value in layer.point_cloud_range]
    grid = bev_grid(model)
    if grid is None:
        return None
    (x_min, y_min, x_max, y_max), _ = grid
    return [x_min, y_min, -float("inf"), x_max, y_max, float("inf")]


def inside(boxes: Tensor, limit: Sequence[float]) -> Tensor:
    """Return (N,) whether a box's centre lies in the range."""
    centre = boxes[:, :3].clone()
    centre[:, 2] += boxes[:, 5] / 2
    low, high = torch.tensor(limit[:3]), torch.tensor(limit[3:])
    return ((centre >= low) & (centre < high)).all(1)


def check_range(frames: list[RawFrame], model: Any, classes: Sequence[str]) -> Verdict:
    """Say how many boxes lie in the model's range, class by class."""
    limit = limits(model)
    if limit is None:
        return Verdict("boxes in range", OK, "the model has no range")
    boxes = torch.cat([frame.boxes for frame in frames])
    labels = torch.cat([frame.labels for frame in frames])
    within = inside(boxes, limit)
    told, shares = [], []
    for index, name in enumerate(classes):
        own = within[labels == index]
        if len(own):
            shares.append(own.float().mean().item())
            told.append(f"{name} {shares[-1]:.0%} of {len(own)}")
    if not shares:
        hint = f"are the classes {', '.join(classes)} right?"
        return Verdict("boxes in range", FAIL, "no boxes of the config's classes", hint)
    where = f"x {limit[0]:g}..{limit[3]:g}, y {limit[1]:g}..{limit[4]:g}, "
    where += f"z {limit[2]:g}..{limit[5]:g} m"
    status = FAIL if min(shares) < FEW_INSIDE else WARN if min(shares) < MOST_INSIDE else OK
    low, high = boxes[:, :3].amin(0).tolist(), boxes[:, :3].amax(0).tolist()
    fix = "widen point_cloud_range, or mind that these are not learnt; the boxes reach "
    fix += ", ".join(f"{axis} {a:.1f}..{b:.1f}" for axis, a, b in zip("xyz", low, high))
    return Verdict("boxes in range", status, f"{', '.join(told)} in {where}", fix * (status != OK))


def check_points(frames: list[RawFrame], classes: Sequence[str]) -> Verdict:
    """Say how many points lie in a box, class by class."""
    layer = "points a box"
    counts: dict[int, list[int]] = {}
    for frame in frames:
        if frame.points is None:
            return Verdict(layer, OK, "the pipeline loads no cloud")
        if len(frame.boxes):
            held = points_in_boxes_all(frame.points[None], frame.boxes[None])[0].sum(0)
            for label, count in zip(frame.labels.tolist(), held.tolist()):
                counts.setdefault(label, []).append(count)
    told, empty = [], 0.0
    for index, found in sorted(counts.items()):
        numbers = torch.tensor(found).float()
        share = (numbers == 0).float().mean().item()
        empty = max(empty, share)
        told.append(f"{classes[index]} median {numbers.median():.0f}, none in {share:.0%}")
    if not told:
        return Verdict(layer, FAIL, "no boxes of the config's classes", "see boxes in range")
    if not any(sum(found) for found in counts.values()):
        fix = "are clouds and labels in one frame? see kd3d prepare"
        return Verdict(layer, FAIL, "; ".join(told), fix)
    fix = "boxes without points cannot be learnt from a cloud; filter them"
    status = WARN if empty > MOST_EMPTY else OK
    return Verdict(layer, status, "; ".join(told), fix * (status != OK))


def check_anchors(
    frames: list[RawFrame], model: Any, model_config: dict[str, Any], classes: Sequence[str]
) -> Verdict:
    """Compare an anchor head's sizes and heights with the boxes, class by class."""
    layer, head = "anchors", head_of(model)
    generator = getattr(head, "prior_generator", None)
    if generator is None or not hasattr(generator, "sizes"):
        return Verdict(layer, OK, "the head has no anchors")
    boxes = torch.cat([frame.boxes for frame in frames])
    labels = torch.cat([frame.labels for frame in frames])
    thresholds = _thresholds(model_config, len(classes))
    told, status = [], OK
    for index, name in enumerate(classes):
        own = boxes[labels == index]
        if not len(own) or index >= len(generator.sizes):
            continue
        size = torch.tensor(generator.sizes[index]).float()
        fitting = (size_overlap(own, size) >= thresholds[index]).float().mean().item()
        height = float(generator.ranges[min(index, len(generator.ranges) - 1)][2])
        off = (own[:, 2].median() - height).item()
        told.append(
            f"{name} {_size(size)} m against a median of {_size(own[:, 3:6].median(0).values)} m, "
            f"{fitting:.0%} overlap by {thresholds[index]:g}, bottoms {off:+.1f} m"
        )
        bad = fitting < ANCHORED or abs(off) > own[:, 5].median().item()
        status = FAIL if fitting == 0 else WARN if bad and status == OK else status
    fix = "set the generator's sizes to the medians and its ranges' z to the boxes' bottoms"
    return Verdict(layer, status, "; ".join(told), fix * (status != OK))


def size_overlap(boxes: Tensor, size: Tensor) -> Tensor:
    """Return (N,) overlaps from above of boxes with an anchor of a size at their place and yaw.

    Args:
        boxes: (N, 7).
        size: (3,) dx, dy, dz in metres.
    """
    common = torch.minimum(boxes[:, 3:5], size[:2]).prod(1)
    return common / (boxes[:, 3:5].prod(1) + size[:2].prod() - common)


def _size(size: Tensor) -> str:
    return " x ".join(f"{value:.2f}" for value in size.tolist())


def _thresholds(model: dict[str, Any], classes: int) -> list[float]:
    """Return the overlap from which an anchor is positive, class by class."""
    train = model.get("train_cfg") or {}
    assigner = (train.get("pts") or train).get("assigner") or {}
    several = assigner if isinstance(assigner, (list, tuple)) else [assigner] * classes
    return [float(one.get("pos_iou_thr", 0.5)) for one in several]
