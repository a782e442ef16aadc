"""Class logits and boxes of a detection head as rows, and the ground truth's class of each row."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kd3d.losses.logit.head_response import BOX_MAPS, anchor_rows
from kd3d.losses.logit.head_scores import anchors_per_cell


def class_rows(head: Any, layout: str) -> Tensor:
    """Return class logits (B, N, K), K in label order.

    Args:
        head: Raw outputs: CenterHead's tasks of one dict each, whose cells are the rows (N = H W,
            the tasks' classes side by side), or Anchor3DHead's lists of maps, whose anchors are the
            rows (N = sum of H W A, anchors of a cell side by side).
        layout: ``center_head`` or ``anchor_head``.
    """
    if layout == "center_head":
        return torch.cat([task[0]["heatmap"] for task in head], 1).flatten(2).transpose(1, 2)
    rows = []
    for level, scores in enumerate(head[0]):
        rows.append(anchor_rows(scores, scores.shape[1] // anchors_per_cell(head, level)))
    return torch.cat(rows, 1)


def box_rows(head: Any, layout: str) -> Tensor:
    """Return encoded boxes (B, N, D) of the same rows.

    A centre head with T tasks has a box a cell and task: (B, T H W, 8), task by task, the maps
    ``reg, height, dim, rot`` side by side. An anchor head has its residuals (B, N, 7 or more).
    """
    rows = []
    if layout == "center_head":
        for (task,) in head:
            rows.append(torch.cat([task[k] for k in BOX_MAPS], 1).flatten(2).transpose(1, 2))
        return torch.cat(rows, 1)
    for level, boxes in enumerate(head[1]):
        rows.append(anchor_rows(boxes, boxes.shape[1] // anchors_per_cell(head, level)))
    return torch.cat(rows, 1)


def with_background(rows: Tensor) -> Tensor:
    r"""Append a class of logit 0 to (..., K): sigmoid scores as one distribution.

    With one class the softmax then is :math:`(\sigma(x), 1 - \sigma(x))`.
    """
    return torch.cat([rows, torch.zeros_like(rows[..., :1])], -1)


def row_targets(class_maps: Tensor, rows: int, threshold: float = 0.3) -> Tensor:
    """Return each row's class, K where it is background.

    An anchor head that has one anchor size a class (sizes in label order, the usual case) gives the
    class only to that class's anchors; else all anchors of a cell take the cell's class.

    Args:
        class_maps: (B, K, H, W) in 0..1: how much a cell belongs to an object of each class.
        rows: N, a multiple of H W; see `class_rows`.
        threshold: A cell has the class of its largest value if that is above this.

    Returns:
        (B, N) int64.
    """
    batch, classes = class_maps.shape[:2]
    maps = class_maps.flatten(2).transpose(1, 2)  # (B, HW, K)
    value, label = maps.max(-1)
    target = torch.where(value > threshold, label, classes)
    anchors = rows // maps.shape[1]
    if anchors == 1:
        return target
    if anchors % classes:
        return target.repeat_interleave(anchors, 1)
    own = torch.arange(anchors, device=maps.device) // (anchors // classes)  # (A,)
    positive = maps[..., own] > threshold  # (B, HW, A)
    return torch.where(positive, own, classes).reshape(batch, rows)
