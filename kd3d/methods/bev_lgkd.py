"""BEV-LGKD: LiDAR says where a multi-view student imitates a multi-view teacher."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from kd3d.core.branches import UNREAD
from kd3d.core.card import MethodCard
from kd3d.core.context import Context
from kd3d.core.depth_term import DepthTerm
from kd3d.core.map_term import BevTerm
from kd3d.core.registry import METHODS, TERMS
from kd3d.errors import UserError
from kd3d.losses import squared_error
from kd3d.masks.activity import active_cells
from kd3d.masks.raised import raised_cells

CARD = MethodCard(
    name="bev_lgkd",
    title="J. Li, M. Lu, J. Liu, Y. Guo, L. Du, S. Zhang: BEV-LGKD: A unified LiDAR-guided "
    "knowledge distillation framework for BEV 3D object detection",
    venue="ICRA 2024",
    paper="arXiv:2212.00623",
    idea="Teacher and student are of one kind; points are no input, but say where the student "
    "imitates: in and around cells with points above the ground to which the teacher responds. "
    "Depths are imitated too.",
    equation="L = sum_i f_i v_i |s_i - t_i|^2 / sum_i f_i v_i [+ a mean KL(depth^T || depth^S)], "
    "f: points above the ground, v: |t_i| > 0",
    source=("feature", "logit"),
    routes=("camera to camera",),
    schemes=("offline", "online", "self"),
    algorithm=("attention",),
    needs=("bev",),
    same=(),
    status=("formula-tested",),
    differences=(
        "the authors' released code lacks the training step: the loss follows the paper, and has "
        "no numbers to compare with",
        "the ground is the lowest point near by; the authors' removal of the ground is not known",
        "the view mask is where the teacher's map is not zero, in one map for all cameras; the "
        "authors pool a map for each camera",
        "depths are compared in all cells where depth is given, not at LiDAR pixels alone, and as "
        "distributions; the authors' regression of fine inverse depth is a part of their model",
        "mean over channels of a teacher that is standardised per channel, after a projection",
        "the batch must carry points for one of the two models, also where both read images",
        "official_parity=True changes nothing: there is nothing to compare with",
    ),
    zero_when_equal=False,
)


@METHODS.register_module()
def bev_lgkd(
    teacher: str = "teacher",
    weight: float | dict = 1.0,
    tap: str = "bev",
    above_m: float = 0.3,
    grow: int = 1,
    depth: float | dict | None = None,
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the terms of BEV-LGKD.

    Args:
        teacher: The teacher's name.
        weight: Number or schedule of the map's term.
        tap: Of both models.
        above_m: Height above the ground from which a point counts.
        grow: Cells added around those with such a point.
        depth: Weight of the divergence of depths between two camera models with the tap ``depth``;
            None: none.
        official_parity: Accepted for uniformity; changes nothing.
    """
    made: list[dict[str, Any]] = [
        dict(
            type="GuidedTerm",
            name="guided",
            student=f"student:{tap}",
            teacher=f"{teacher}:{tap}",
            weight=weight,
            above_m=above_m,
            grow=grow,
        )
    ]
    if depth is not None:
        sides = dict(student="student:depth", teacher=f"{teacher}:depth")
        made.append(dict(type=DepthTerm.__name__, name="depth", weight=depth, **sides))
    return made


@TERMS.register_module()
class GuidedTerm(BevTerm):
    """Imitation where points stand above the ground; see `bev_lgkd`."""

    def __init__(self, *sides: Any, above_m: float = 0.3, grow: int = 1, **options: Any) -> None:
        super().__init__(*sides, **options)
        self.raised: dict[str, Any] = dict(above_m=above_m, grow=grow)

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return the mean over cells with weight."""
        seen, valid = self.adapter.teacher(teacher)
        mask = active_cells(seen) * self.foreground(context, seen)
        mask = mask if valid is None else mask * valid
        ours, theirs, _ = self.maps(student, teacher)
        return self.mean(squared_error(ours, theirs), context, mask)

    def foreground(self, context: Context, like: Tensor) -> Tensor:
        """Return the (B, 1, H, W) mask of points above the ground.

        Of either model's cloud, or of one that is packed for nobody.

        Raises:
            UserError: The batch has no cloud.
        """
        for branch in (self.teacher_branch, self.student_branch, UNREAD):
            points = context.inputs.get(branch, {}).get("points")
            if points is not None:
                clouds = [cloud.to(like.device) for cloud in points]
                return raised_cells(clouds, *self.spec.grid, **self.raised).to(like)
        raise UserError(
            "no points to be guided by",
            f"term {self.name}",
            "let the pipeline load and pack points, also where both models read images",
        )
