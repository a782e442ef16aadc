"""How far two heads of one kind differ, cell by cell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from kd3d.losses.box.distribution import yaw_as_vector
from kd3d.losses.logit.class_rows import box_rows, class_rows
from kd3d.losses.logit.soft_labels import sigmoid_kl


def head_disparity(
    student: Any, teacher: Any, layout: str, box_distance: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    r"""Return the disparity of class scores and boxes, (B, H, W), >= 0.

    .. math:: \frac{1}{A} \sum_{a} \Big[\sum_k \mathrm{KL}(t_{ak} \| s_{ak})
        + \max_k t_{ak} \sum_d \delta(b^S_{ad}, b^T_{ad})\Big]

    over the A anchors of a cell. In a centre head a cell has one score a class, and one box a task,
    whose maximum runs over the task's classes (A = 1, boxes summed over tasks). A box counts by the
    teacher's score, because the boxes of empty cells mean nothing.

    Args:
        student: Raw outputs of a head with maps of one resolution.
        teacher: The same.
        layout: ``center_head`` or ``anchor_head``.
        box_distance: Of two box codes, element by element.
    """
    ours, theirs = class_rows(student, layout), class_rows(teacher, layout)
    code_s, code_t = box_rows(student, layout), box_rows(teacher, layout)
    classes = sigmoid_kl(ours, theirs).sum(-1)  # (B, rows)
    batch = len(classes)
    if layout == "center_head":
        height, width = student[0][0]["heatmap"].shape[2:]
        score = torch.cat([task[0]["heatmap"].flatten(2).amax(1) for task in teacher], 1).sigmoid()
        boxes = (score * box_distance(code_s, code_t).sum(-1)).view(batch, -1, height * width)
        return (classes + boxes.sum(1)).view(batch, height, width)
    (level,) = student[0]
    height, width = level.shape[2:]
    code_s, code_t = yaw_as_vector(code_s), yaw_as_vector(code_t)
    boxes = theirs.sigmoid().amax(-1) * box_distance(code_s, code_t).sum(-1)
    return (classes + boxes).view(batch, height, width, -1).mean(-1)
