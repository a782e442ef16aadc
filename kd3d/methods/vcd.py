"""VCD: an expert of the student's own kind, imitated where objects are and were."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kd3d.core.card import MethodCard
from kd3d.core.context import Context
from kd3d.core.depth_term import DepthTerm
from kd3d.core.near_term import NearTerm
from kd3d.core.registry import METHODS, TERMS
from kd3d.masks.trajectory import trajectory_mask

CARD = MethodCard(
    name="vcd",
    title="L. Huang, Z. Li, C. Sima, W. Wang, J. Wang, Y. Qiao, H. Li: Leveraging vision-centric "
    "multi-modal expertise for 3D object detection (VCD)",
    venue="NeurIPS 2023",
    paper="arXiv:2310.15670",
    idea="The teacher is a camera model of the student's architecture whose depth comes from "
    "LiDAR; the student imitates its standardised map where objects are and where they were in "
    "the frames that both models remember.",
    equation="L = sum_i m_i |s_i - BN(t)_i|^2 / sum_i m_i [+ a mean KL(depth^T || depth^S)], m: "
    "highest Gaussian over the frames",
    source=("feature", "logit"),
    routes=("lidar+camera to camera",),
    schemes=("offline", "online", "self"),
    algorithm=(),
    needs=("bev", "gt_boxes"),
    status=("parity-tested",),
    differences=(
        "any two models with BEV maps; the expert is what the teacher's config makes it",
        "past places of objects follow from their velocities, taken as constant; the authors read "
        "the boxes of earlier frames. Without velocities objects stand",
        "mean over channels, after a projection, and the mask enters once; the authors sum over "
        "channels, and multiply both maps by the mask. Without objects it is 0, there NaN",
        "the divergence of depths, which the authors' code holds but cannot run, is off unless "
        "depth is given, and is a mean over cells; theirs is a sum",
        "occupancy (kd3d.losses.depth.occupancy) has no term: the authors' code fills voxels along "
        "wrong rays, and a detector's lifted depth is not a tap",
        "weight 1, not tuned; the authors' is 0.4",
        "official_parity=True: the authors' sums and weights",
    ),
    zero_when_equal=False,
)


@METHODS.register_module()
def vcd(
    teacher: str = "teacher",
    weight: float | dict | None = None,
    tap: str = "bev",
    frames: int = 9,
    interval_s: float = 0.5,
    depth: float | dict | None = None,
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the terms of VCD.

    Args:
        teacher: The teacher's name.
        weight: Number or schedule of the map's term; None: 1, published 0.4.
        tap: Of both models.
        frames: Whose places of objects count, the present one included.
        interval_s: Between frames.
        depth: Weight of the divergence of depths between two camera models with the tap ``depth``
            (published 0.01, of a sum); None: none.
        official_parity: The authors' forms and weights.
    """
    usual = 0.4 if official_parity else 1.0
    made: list[dict[str, Any]] = [
        dict(
            type="TrajectoryTerm",
            name="trajectory",
            student=f"student:{tap}",
            teacher=f"{teacher}:{tap}",
            weight=usual if weight is None else weight,
            frames=frames,
            interval_s=interval_s,
            official_parity=official_parity,
        )
    ]
    if depth is not None:
        made.append(
            dict(
                type=DepthTerm.__name__,
                name="depth",
                student="student:depth",
                teacher=f"{teacher}:depth",
                weight=depth,
                temperature=1.5,
                official_parity=official_parity,
            )
        )
    return made


@TERMS.register_module()
class TrajectoryTerm(NearTerm):
    """Imitation of a standardised map along the objects' trajectories; see `vcd`."""

    twice = True

    def __init__(
        self, *sides: Any, frames: int = 9, interval_s: float = 0.5, **options: Any
    ) -> None:
        super().__init__(*sides, **{"normalise_teacher": True} | options)
        self.past: dict[str, Any] = dict(frames=frames, interval_s=interval_s)

    def region(self, context: Context, device: torch.device) -> Tensor:
        """Return the (B, 1, H, W) weights of present and past places."""
        boxes = [box.to(device) for box in context.boxes]
        options = self.past | self.gaussian
        return trajectory_mask(boxes, context.velocities, *self.spec.grid, **options)
