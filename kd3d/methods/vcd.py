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
from kd3d.core.spec import FeatureSpec
from kd3d.core.term import Term
from kd3d.errors import UserError
from kd3d.losses.depth.occupancy import occupancy_error
from kd3d.losses.reduce import masked_mean
from kd3d.masks.solid import gaussian_solid
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
    equation="L = sum_i m_i |s_i - BN(t)_i|^2 / sum_i m_i [+ a mean KL(depth^T || depth^S)] [+ b "
    "sum_v m_v |sigma(o^S_v) - sigma(o^T_v)| / sum_v m_v], m: highest Gaussian over the frames, in "
    "voxels v over the objects, o: sum of the depth's probability in a voxel",
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
        "occupancy is off unless occupancy is given. Voxels are filled along the rays at which "
        "each model lifts; the authors' code has the frustum of an image of the map's size. The "
        "mask's Gaussian has half the object's height along z; objects outside have none",
        "weight 1, not tuned; the authors' is 0.4, and 4 for occupancy",
        "official_parity=True: the authors' sums and weights; the rays are right all the same",
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
    occupancy: float | dict | None = None,
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
        occupancy: Weight of the difference of occupancies between two models that lift by the tap
            ``depth`` (published 4); None: none.
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
    if occupancy is not None:
        made.append(
            dict(
                type="OccupancyTerm",
                name="occupancy",
                student="student:depth",
                teacher=f"{teacher}:depth",
                weight=occupancy,
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


@TERMS.register_module()
class OccupancyTerm(Term):
    """Voxels that two models' depths fill, near objects; see `vcd`.

    Both models see the same images; their bins and strides may differ.

    Args:
        *sides: See `Term`; taps such as ``depth``, whose values are logits (B N, D, H, W).
        voxel_m: Edges of a voxel along x, y and z in metres. The volume is the student's lift's.
        official_parity: The mask is nowhere 0.
        **options: See `Term`.
    """

    needs_detector = True

    def __init__(
        self,
        *sides: Any,
        voxel_m: tuple[float, float, float] = (0.4, 0.4, 1.0),
        official_parity: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(*sides, **options)
        self.voxel_m, self.official = voxel_m, official_parity

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Refuse models that do not lift; choose the voxels."""
        sides = zip(("student", "teacher"), (student, teacher), (self.learner, self.detector))
        for side, spec, model in sides:
            view = getattr(model(), "view_transform", None)
            if spec.layout != "image" or view is None or view.bins.count != spec.channels:
                raise UserError(
                    f"the {side} has {spec}, which is no distribution over a lift's bins",
                    f"term {self.name}",
                    "models such as BEVDet, tap depth",
                )
        grid = self.learner().view_transform.grid
        low, high = grid.low, [a + b * c for a, b, c in zip(grid.low, grid.step, grid.count)]
        self.bounds: Any = tuple(zip(low, high, self.voxel_m))
        self.extent = low[0], low[1], high[0], high[1]

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return the mean under the objects' Gaussians."""
        sides = (
            (self.learner, student, self.student_branch),
            (self.detector, teacher, self.teacher_branch),
        )
        ours, theirs = (
            model().view_transform.occupancy(
                logits.softmax(1), context.metas, _image_shape(context, branch), self.bounds
            )
            for model, logits, branch in sides
        )
        boxes = [box.to(student.device) for box in context.boxes]
        layers, height, width = ours.shape[1:]
        mask = gaussian_solid(boxes, self.extent, self.bounds[2][:2], (layers, height, width))
        return self.compared(ours, theirs, mask)

    def compared(self, student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
        """Return the mean difference of occupancies (B, Z, Y, X) under a mask of that shape."""
        mask = mask + 1e-7 if self.official else mask
        return masked_mean(occupancy_error(student, teacher), mask)


def _image_shape(context: Context, branch: str) -> tuple[int, int]:
    """Return height and width of a model's images."""
    height, width = context.inputs[branch]["imgs"].shape[-2:]
    return height, width
