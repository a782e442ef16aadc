"""What a term may know besides its two tensors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass
class Context:
    """One training batch as the terms see it.

    Attributes:
        boxes: A sample's (N, 7) ground-truth boxes [x, y, z_bottom, dx, dy, dz, yaw], LiDAR frame,
            metres and radians, one entry a sample; (0, 7) where there is none.
        labels: A sample's (N,) int64 class indices.
        inputs: Branch name -> that model's inputs.
        progress: Share of the training that is done, 0 to 1.
        sample_weights: Teacher tap (``"<teacher>:<tap>"``) -> (B,) weights of its samples; absent
            means 1 (see `kd3d.teachers.ensemble`).
        velocities: A sample's (N, 2) velocities vx, vy of the boxes in metres a second, along the
            LiDAR frame's axes; 0 where the data have none or it is unknown. Empty: none at all.
        watched: Tap of a learner (``"student:head"``) -> its value without graph, for terms that
            watch more than they compare; see `kd3d.core.term.Term`.
    """

    boxes: list[Tensor]
    labels: list[Tensor]
    inputs: dict[str, dict[str, Any]]
    progress: float
    sample_weights: dict[str, Tensor] = field(default_factory=dict)
    velocities: list[Tensor] = field(default_factory=list)
    watched: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_batch(cls, inputs: dict[str, dict], samples: list[Any], progress: float) -> Context:
        """Read the ground truth from the student's data samples."""
        boxes, labels, velocities = [], [], []
        for sample in samples:
            truth = getattr(sample, "gt_instances_3d", None)
            if truth is None or "bboxes_3d" not in truth:
                boxes.append(torch.zeros(0, 7))
                labels.append(torch.zeros(0, dtype=torch.long))
                velocities.append(torch.zeros(0, 2))
                continue
            values = truth.bboxes_3d.tensor
            boxes.append(values[:, :7])
            labels.append(truth.labels_3d)
            known = values[:, 7:9] if values.shape[1] >= 9 else torch.zeros_like(values[:, :2])
            velocities.append(known.nan_to_num())
        return cls(boxes, labels, inputs, progress, velocities=velocities)
