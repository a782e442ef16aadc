"""What a head's raw output says, whatever its kind."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def anchors_per_cell(head: Any, level: int = 0) -> int:
    """Return how many anchors a cell of an Anchor3DHead's raw output has.

    Without direction logits the boxes are taken to have 7 values.
    """
    boxes, directions = head[1][level], head[2][level]
    return boxes.shape[1] // 7 if directions is None else directions.shape[1] // 2


def mean_logit_scores(head: Any) -> Tensor:
    """Return (B, 1, H, W): the sigmoid of a task's mean logit over classes, averaged over tasks.

    The target of CRKD's code, of low contrast where tasks have several classes; L. Zhao, J. Song,
    K. A. Skinner, "CRKD: Enhanced camera-radar object detection with cross-modality knowledge
    distillation", CVPR 2024.

    Args:
        head: CenterHead's tasks of one dict each.
    """
    scores = [task[0]["heatmap"].mean(1, keepdim=True).sigmoid() for task in head]
    return torch.stack(scores).mean(0)


def class_scores(head: Any, layout: str) -> Tensor:
    """Return (B, K, H, W) class probabilities of raw head outputs, K in label order.

    Args:
        head: CenterHead's tasks of one dict each, or Anchor3DHead's lists of one map; a cell has
            the highest score of its anchors.
        layout: ``center_head`` or ``anchor_head``.
    """
    if layout == "center_head":
        return torch.cat([task[0]["heatmap"] for task in head], 1).sigmoid()
    (logits,) = head[0]  # (B, A * K, H, W), an anchor's classes side by side
    batch, _, height, width = logits.shape
    return logits.reshape(batch, anchors_per_cell(head), -1, height, width).amax(1).sigmoid()
