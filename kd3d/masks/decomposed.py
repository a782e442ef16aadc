"""A map taken apart into objects, false alarms and background (DistillBEV)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kd3d.masks.boxes import Extent, inside_boxes

ALARMS = ("apart", "student", "teacher", "either")


def scaled_objects(
    boxes: Sequence[Tensor], extent: Extent, shape: tuple[int, int], corners: bool = False
) -> tuple[Tensor, Tensor]:
    r"""Return which cells lie in objects, and weights by which large objects do not dominate.

    .. math:: s = \sqrt{\frac{\text{area of a cell}}{\text{area of the box}}}

    Z. Wang, D. Li, C. Luo, C. Xie, X. Yang, "DistillBEV: Boosting multi-camera 3D object detection
    with cross-modal knowledge distillation", ICCV 2023, section 3.2.

    Args:
        boxes: A sample's (N, >=7) boxes [x, y, z, dx, dy, dz, yaw, ...], one entry a sample.
        extent: (x_min, y_min, x_max, y_max) of the map in metres.
        shape: (H, W).
        corners: As in the authors' code a cell is judged by its corner of least x and y, and has
            the weight of the first box that holds it; else by its centre, the smallest box.

    Returns:
        Two (B, 1, H, W) floats: 0 or 1, and the weight (0 outside the boxes).
    """
    cell = [(extent[2 + axis] - extent[axis]) / shape[1 - axis] for axis in (0, 1)]
    if corners:
        half = (cell[0] / 2, cell[1] / 2) * 2
        extent = tuple(low - by for low, by in zip(extent, half))  # type: ignore[assignment]
    weights = []
    for sample in boxes:
        weight = torch.zeros(shape, device=sample.device)
        inside = inside_boxes(sample, extent, shape)
        scale = (cell[0] * cell[1] / (sample[:, 3] * sample[:, 4]).clamp(min=1e-6)).sqrt()
        order = range(len(sample) - 1, -1, -1) if corners else scale.argsort().tolist()
        for i in order:  # the last one stays
            weight[inside[i]] = scale[i]
        weights.append(weight)
    scaled = torch.stack(weights).unsqueeze(1)
    return (scaled > 0).float(), scaled


def false_alarms(
    truth: Tensor,
    student: Tensor,
    teacher: Tensor,
    objects: Tensor,
    threshold: float = 0.1,
    whose: str = "apart",
) -> Tensor:
    """Return the cells without an object where a model sees one.

    DistillBEV, section 3.2; see `scaled_objects`.

    Args:
        truth: (B, 1, H, W) heat map of the ground truth, 0..1.
        student: (B, 1, H, W) the student's highest class score, 0..1.
        teacher: (B, 1, H, W) the teacher's.
        objects: (B, 1, H, W), 1 in objects.
        threshold: What is seen scores more.
        whose: ``apart``: the student's that the teacher does not share; ``student``; ``teacher``;
            ``either``.

    Returns:
        (B, 1, H, W) float, 0 or 1.
    """
    ours, theirs = student > threshold, teacher > threshold
    seen = {
        "apart": ours & (teacher < threshold),
        "student": ours,
        "teacher": theirs,
        "either": ours | theirs,
    }[whose]
    return (seen & (truth < threshold) & (objects == 0)).to(truth)
