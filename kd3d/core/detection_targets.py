"""A centre head against given boxes: soft labels of cells, and boxes in the cells of centres."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kd3d.core.spec import Detections, FeatureSpec
from kd3d.losses.box.set_prediction import box_code, centre_head_code, scored_code_error
from kd3d.losses.logit.quality_focal import quality_focal
from kd3d.losses.reduce import global_normaliser
from kd3d.masks.boxes import Extent, cell_centres, centre_cells, gaussian_mask
from kd3d.masks.label_maps import box_cells

BOX_NUMBERS = 8  # of `centre_codes`


def soft_labels(detections: Detections, like: Tensor, spec: FeatureSpec) -> Tensor:
    """Return (B, K, H, W): the highest score times Gaussian of a class's boxes.

    Args:
        detections: On the head's map.
        like: The head's class maps (B, K, H, W).
        spec: Of the head.
    """
    target = torch.zeros_like(like)
    for i, found in enumerate(detections):
        for box, score, label in zip(found["boxes"], found["scores"], found["labels"]):
            bump = gaussian_mask([box[None]], *spec.grid)[0, 0]
            target[i, label] = torch.maximum(target[i, label], score * bump)
    return target


def centre_codes(boxes: Tensor) -> Tensor:
    """Return `box_code` of (N, >=7) boxes [x, y, z_bottom, ...] with the height of the centre."""
    z = boxes[:, 2:3] + boxes[:, 5:6] / 2
    return box_code(torch.cat([boxes[:, :2], z, boxes[:, 3:7]], 1))


def paint(
    found: Detections, classes: int, extent: Extent, shape: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Return what each cell's centre lies in: the box's code relative to the cell, and its class.

    Boxes grow by half a cell, so that small objects have one; of several the smallest has the cell.

    Args:
        found: A sample's ``boxes`` (N, 7 + V), with V further values such as a velocity, and
            ``labels`` (N,) in 0..K-1.
        classes: K.
        extent: (x_min, y_min, x_max, y_max) of the map in metres.
        shape: (H, W).

    Returns:
        (B, 8 + V, H, W), 0 where there is no box; and (B, K, H, W) one-hot class, 0 likewise.
    """
    boxes = [one["boxes"] for one in found]
    cell = max((extent[2] - extent[0]) / shape[1], (extent[3] - extent[1]) / shape[0])
    index = box_cells(boxes, extent, shape, 0.5 * cell)
    x, y = cell_centres(extent, shape, index.device)
    further = boxes[0].shape[1] - 7
    numbers = boxes[0].new_zeros(len(boxes), *shape, BOX_NUMBERS + further)
    kinds = boxes[0].new_zeros(len(boxes), *shape, classes)
    for i, one in enumerate(found):
        rows, columns = (index[i] >= 0).nonzero().unbind(1)
        own = index[i, rows, columns]
        codes = torch.cat([centre_codes(one["boxes"]), one["boxes"][:, 7:]], 1)
        numbers[i, rows, columns] = codes[own].to(numbers)
        kinds[i, rows, columns, one["labels"][own]] = 1.0
        numbers[i, rows, columns, 0] -= x[columns]
        numbers[i, rows, columns, 1] -= y[rows]
    return numbers.movedim(3, 1), kinds.movedim(3, 1)


def codes_of_cells(
    codes: Tensor, classes: list[int], found: dict[str, Tensor], spec: FeatureSpec
) -> tuple[Tensor, Tensor]:
    """Return a sample's codes (M, 8) in the cells and tasks of given boxes, and their indices.

    Args:
        codes: (tasks, 8, H, W) of `centre_head_code`.
        classes: Of each task.
        found: The boxes.
        spec: Of the head.
    """
    row, column, keep = centre_cells(found["boxes"], *spec.grid)
    ends = torch.tensor(classes, device=codes.device).cumsum(0)
    task = torch.bucketize(found["labels"], ends, right=True)
    which = (keep & (task < len(ends))).nonzero()[:, 0]
    return codes[task[which], :, row[which], column[which]], which


def output_error(
    head: Any, detections: Detections, spec: FeatureSpec, classes: list[int], box_weight: float
) -> Tensor:
    """Return the distance of a centre head's output from given boxes, a scalar.

    Quality focal loss towards the soft labels over the sum of scores (at least the number of
    samples), plus `box_weight` times the mean difference of codes under the scores.

    Args:
        head: Raw output.
        detections: Of each sample, on the head's map.
        spec: Of the head.
        classes: Of each task.
        box_weight: Of the boxes.
    """
    logits = torch.cat([task[0]["heatmap"] for task in head], 1)
    target = soft_labels(detections, logits, spec)
    total = torch.stack([found["scores"].sum() for found in detections]).sum()
    count = global_normaliser(total, minimum=float(len(detections)))
    scores = quality_focal(logits, target).sum() / count
    codes = torch.stack([centre_head_code(task[0], spec.grid[0]) for task in head], 1)
    chosen, targets, weights = [], [], []
    for own, found in zip(codes, detections):
        mine, which = codes_of_cells(own, classes, found, spec)
        chosen.append(mine)
        targets.append(centre_codes(found["boxes"])[which])
        weights.append(found["scores"][which])
    weight = torch.cat(weights)
    error = scored_code_error(torch.cat(chosen), torch.cat(targets), weight).sum()
    return scores + box_weight * error / global_normaliser(weight.sum(), minimum=1e-6)
