"""All channels of a detection head as maps of cells or anchors, and which of them an object has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from kd3d.losses.logit.head_scores import anchors_per_cell


def head_channels(
    head: Any, layout: str, names: Sequence[str], probabilities: bool = False
) -> list[Tensor]:
    """Return each task's channels (B, C, M): classes, then the parts of the box code.

    Args:
        head: Raw outputs. CenterHead's tasks of one dict each: M is H W. Anchor3DHead's lists of
            one map: one task, M is H W A, anchors of a cell side by side.
        layout: ``center_head`` or ``anchor_head``.
        names: A centre head's maps besides the classes.
        probabilities: Classes as probabilities, kept within 1e-4 of 0 and 1; else as logits.
    """
    if layout == "center_head":
        tasks = [[task[0][name] for name in ("heatmap", *names)] for task in head]
    else:
        found = [part[0] for part in head if part[0] is not None]
        size = (len(found[0]), anchors_per_cell(head), -1, *found[0].shape[2:])
        tasks = [[part.reshape(size).permute(0, 2, 3, 4, 1) for part in found]]
    if probabilities:
        tasks = [[logits.sigmoid().clamp(1e-4, 1 - 1e-4), *rest] for logits, *rest in tasks]
    return [torch.cat(maps, 1).flatten(2) for maps in tasks]


def anchor_split(maps: dict[str, int]) -> tuple[int, list[int]]:
    """Return how many anchors a cell has, and the channels of an anchor's parts.

    Args:
        maps: Channels of ``scores``, ``boxes`` and, where there are any, ``directions``; without
            them a box is taken to have 7 values.

    Returns:
        Anchors; channels of classes, x and y, z, size, yaw, then velocity and directions, if any.
    """
    directions = maps.get("directions")
    anchors = maps["boxes"] // 7 if directions is None else directions // 2
    code = maps["boxes"] // anchors
    split = [maps["scores"] // anchors, 2, 1, 3, 1]
    return anchors, split + ([code - 7] if code > 7 else []) + ([2] if directions else [])


def class_anchors(cells: Tensor, labels: Tensor, classes: int, anchors: int) -> Tensor:
    """Return the anchors that may stand for objects.

    A head with one anchor size a class (sizes in label order, the usual case) gives an object the
    anchors of its class in its cell; else it has all anchors of the cell.

    Args:
        cells: (N,) indices into H W.
        labels: (N,) classes.
        classes: K.
        anchors: A, anchors a cell.

    Returns:
        (N A / K,) or (N A,) indices into H W A.
    """
    own = anchors // classes if anchors % classes == 0 else anchors
    first = labels * own if own < anchors else torch.zeros_like(labels)
    return ((cells * anchors + first)[:, None] + torch.arange(own, device=cells.device)).flatten()
