"""The boxes that two heads give in the cells of objects."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kd3d.core.context import Context
from kd3d.core.spec import FeatureSpec
from kd3d.losses.logit.class_rows import box_rows, class_rows, row_targets
from kd3d.masks.boxes import centre_cells


def centre_maps(context: Context, spec: FeatureSpec, classes: int, device: torch.device) -> Tensor:
    """Return (B, K, H, W): 1 in the cell that holds the centre of an object of a class, else 0.

    Args:
        context: The batch.
        spec: Of the head.
        classes: K.
        device: Of what is returned.
    """
    maps = torch.zeros((len(context.boxes), classes, *spec.grid[1]), device=device)
    for i, (boxes, labels) in enumerate(zip(context.boxes, context.labels)):
        boxes, labels = boxes.to(device), labels.to(device)
        row, column, inside = centre_cells(boxes, *spec.grid)
        inside = inside & (labels >= 0) & (labels < classes)
        maps[i, labels[inside], row[inside], column[inside]] = 1.0
    return maps


def boxes_at_objects(
    student: Any, teacher: Any, spec: FeatureSpec, context: Context
) -> tuple[Tensor, Tensor, Tensor]:
    """Return both heads' encoded boxes of the objects: (N, D), (N, D), and their samples (N,).

    A centre head has an object's box in the cell of its centre, in the task of its class; an
    anchor head in the anchors of its class there.

    Args:
        student: Raw output.
        teacher: Raw output of a head of the same kind, grid and classes.
        spec: Of the student's head.
        context: The batch.
    """
    layout = spec.layout
    ours, theirs = box_rows(student, layout), box_rows(teacher, layout)
    logits = class_rows(student, layout)
    classes = logits.shape[2]
    centres = centre_maps(context, spec, classes, ours.device)
    if layout == "center_head":
        widths = [task[0]["heatmap"].shape[1] for task in student]
        chosen = torch.cat([m.amax(1).flatten(1) > 0 for m in centres.split(widths, 1)], 1)
    else:
        chosen = row_targets(centres, ours.shape[1], 0.5) < classes
    return ours[chosen], theirs[chosen], chosen.nonzero()[:, 0]
