"""What a term may know besides its two tensors."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from kd3d.core.labels import Joined, truth_of, velocities_of

DEPTHS, OBJECTS = "gt_depth_maps", "gt_object_maps"


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
        joined: Learner -> the labels that its detection loss sees, where teachers' boxes have
            joined the ground truth (see `kd3d.core.labels`).
        taps: Address -> value of the further taps of the term at hand (see `Term.further`); those
            of its teacher are detached.
        velocities: A sample's (N, 2) velocities vx, vy of the boxes in metres a second, along the
            LiDAR frame's axes; 0 where the data have none or it is unknown. Empty: none at all.
        metas: A sample's metainfo: calibration and augmentations.
        cell_maps: ``gt_depth_maps`` (metres along the optical axis) and ``gt_object_maps`` (int64,
            0: no object) -> a sample's (cameras, H, W); see `kd3d.data.surround.DepthMaps`. Absent
            where a sample has none.
    """

    boxes: list[Tensor]
    labels: list[Tensor]
    inputs: dict[str, dict[str, Any]]
    progress: float
    sample_weights: dict[str, Tensor] = field(default_factory=dict)
    joined: dict[str, Joined] = field(default_factory=dict)
    taps: dict[str, Any] = field(default_factory=dict)
    velocities: list[Tensor] = field(default_factory=list)
    metas: list[dict[str, Any]] = field(default_factory=list)
    cell_maps: dict[str, list[Tensor]] = field(default_factory=dict)

    @classmethod
    def from_batch(cls, inputs: dict[str, dict], samples: list[Any], progress: float) -> Context:
        """Read the ground truth from the student's data samples."""
        boxes, labels, velocities = [], [], []
        for sample in samples:
            truth = truth_of(sample)
            if truth is None:
                truth = torch.zeros(0, 7), torch.zeros(0, dtype=torch.long)
            boxes.append(truth[0][:, :7])
            labels.append(truth[1])
            velocities.append(velocities_of(truth[0]))
        maps = {key: [s.get(key) for s in samples] for key in (DEPTHS, OBJECTS)}
        return cls(
            boxes,
            labels,
            inputs,
            progress,
            velocities=velocities,
            metas=[sample.metainfo for sample in samples],
            cell_maps={k: found for k, found in maps.items() if all(m is not None for m in found)},
        )

    def as_trained(self, learner: str) -> Context:
        """Return this context with the labels that a learner's detection loss sees."""
        joined = self.joined[learner]
        return replace(self, boxes=joined.boxes, labels=joined.labels, velocities=joined.velocities)
