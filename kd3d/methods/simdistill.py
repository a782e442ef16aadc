"""SimDistill: branch to branch, fused map to fused map, predictions."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kd3d.core.at_objects import boxes_at_objects
from kd3d.core.card import MethodCard
from kd3d.core.context import Context
from kd3d.core.head_term import HeadTerm
from kd3d.core.near_term import NearTerm
from kd3d.core.part_weights import part_weights
from kd3d.core.registry import METHODS, TERMS
from kd3d.errors import UserError
from kd3d.losses import squared_error
from kd3d.losses.box.residual import residual_smooth_l1
from kd3d.losses.logit.head_response import BOX_MAPS
from kd3d.losses.logit.quality_focal import quality_focal
from kd3d.losses.reduce import masked_mean
from kd3d.masks.boxes import centre_cells, class_gaussians

CARD = MethodCard(
    name="simdistill",
    title="H. Zhao, Q. Zhang, S. Zhao, Z. Chen, J. Zhang, D. Tao: SimDistill: Simulated "
    "multi-modal distillation for BEV 3D object detection",
    venue="AAAI 2024",
    paper="arXiv:2303.16818",
    idea="The student is shaped like a fusion teacher, and each of its parts learns from the "
    "teacher's: its camera map from the camera map, an early map from the LiDAR map near objects, "
    "the fused map, scores and boxes.",
    equation="L = a sum_i g_i |s_i - t_i|^2 / sum_i g_i + b mean |f^S - f^T|^2 + c QFL(s, t) + "
    "d mean_o smoothL1(r_o^S - r_o^T) [+ e mean |m^S - m^T|^2 of camera maps]",
    source=("feature", "logit"),
    routes=("lidar+camera to camera",),
    schemes=("offline", "online", "self"),
    algorithm=(),
    needs=("stage0", "bev", "head", "gt_boxes"),
    heads=("CenterHead", "Anchor3DHead"),
    status=("parity-tested",),
    differences=(
        "any two detectors with BEV maps; the authors' student simulates a LiDAR branch by a "
        "second lift and deformable attention, which it keeps at inference and a stock detector "
        "has not: the early map takes its place",
        "the term between camera maps is off unless weights names it: the teacher must have one",
        "the whole teacher is constant; the authors train its fuser towards the student",
        "features are means over cells and channels, near objects under Gaussians, of a teacher "
        "that is standardised per channel; the authors average over the whole map, where the "
        "sum over classes of the Gaussians enters squared",
        "scores are squashed once and weighed by confidence; in the authors' code twice, mean over "
        "cells. Boxes are those of objects; the authors also count empty slots, as cell 0, and "
        "take the sine of the yaw for an angle",
        "velocities are not compared, unless official_parity",
        "weights 1, 1 and 1 with boxes 0.25, not tuned; the authors' are 100, 1 and 1",
        "official_parity=True: all of the authors' forms; centre heads only",
    ),
    zero_when_equal=False,
)
USUAL: dict[str, float | dict | None]
USUAL = dict(camera=None, lidar=1.0, fused=1.0, prediction=1.0)
OFFICIAL = USUAL | dict(lidar=100.0)
CODE_WEIGHTS = (1.0,) * 8 + (0.2, 0.2)


@METHODS.register_module()
def simdistill(
    teacher: str = "teacher",
    weights: dict[str, float | dict | None] | None = None,
    camera: tuple[str, str] = ("bev_in", "bev_camera"),
    lidar: tuple[str, str] = ("stage0", "stage0"),
    fused: tuple[str, str] = ("bev", "bev"),
    boxes: float = 0.25,
    slots: int = 500,
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the terms of SimDistill.

    Args:
        teacher: The teacher's name.
        weights: Weights (or schedules) of ``camera`` (IMD), ``lidar`` (CMD), ``fused`` (MMD-F) and
            ``prediction`` (MMD-P) that differ from the usual ones; None leaves a term out.
        camera: Taps of student and teacher of maps lifted from images.
        lidar: Taps of a student's early map and the teacher's LiDAR map.
        fused: Taps of both models' last maps.
        boxes: Weight of the prediction's box part, relative to its scores.
        slots: Of objects a sample in the authors' code, with `official_parity`.
        official_parity: The authors' forms and weights.
    """
    usual = OFFICIAL if official_parity else USUAL
    kinds: dict[str, tuple[str, tuple[str, str], dict]] = {
        "camera": ("WholeMapTerm", camera, {}),
        "lidar": ("CrossModalTerm", lidar, {}),
        "fused": ("WholeMapTerm", fused, {}),
        "prediction": ("PredictionTerm", ("head", "head"), dict(boxes=boxes, slots=slots)),
    }
    return [
        dict(
            type=kinds[part][0],
            name=part,
            student=f"student:{kinds[part][1][0]}",
            teacher=f"{teacher}:{kinds[part][1][1]}",
            weight=weight,
            official_parity=official_parity,
            **kinds[part][2],
        )
        for part, weight in part_weights(usual, weights, "simdistill").items()
    ]


@TERMS.register_module()
class WholeMapTerm(NearTerm):
    """Imitation of a whole map (IMD, MMD-F); see `simdistill`."""

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return the mean over cells and channels."""
        ours, theirs, valid = self.maps(student, teacher)
        return self.mean(squared_error(ours, theirs), context, valid)


@TERMS.register_module()
class CrossModalTerm(NearTerm):
    """Imitation of a LiDAR map near objects (CMD); see `simdistill`."""

    def near(
        self,
        student: Tensor,
        teacher: Tensor,
        context: Context,
        mask: Tensor,
        valid: Tensor | None = None,
    ) -> Tensor:
        """Return the mean under the mask, or over the map of what both maps have in the mask."""
        if not self.official:
            return super().near(student, teacher, context, mask, valid)
        return self.mean(squared_error(student * mask, teacher * mask), context, valid)

    def region(self, context: Context, device: torch.device) -> Tensor:
        """Return the Gaussians of the objects; in the published form their sum over classes."""
        if not self.official:
            return super().region(context, device)
        boxes = [box.to(device) for box in context.boxes]
        count = 1 + max((int(one.max()) for one in context.labels if len(one)), default=0)
        maps = class_gaussians(boxes, context.labels, count, *self.spec.grid)
        return maps.sum(1, keepdim=True)


@TERMS.register_module()
class PredictionTerm(HeadTerm):
    """Scores everywhere and boxes of objects (MMD-P); see `simdistill`."""

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict = 1.0,
        boxes: float = 0.25,
        slots: int = 500,
        official_parity: bool = False,
    ) -> None:
        super().__init__(name, student, teacher, weight)
        self.boxes, self.slots, self.official = boxes, slots, official_parity

    def reads(self) -> dict[str, Any] | None:
        """Return the maps of a centre head that are compared."""
        known = super().reads()
        return {"maps": [*known["maps"], "vel"]} if known and self.official else known

    def distance(self, student: Any, teacher: Any, context: Context) -> Tensor:
        """Return scores + boxes * box part."""
        if self.official:
            return self._published(student, teacher, context)
        ours, theirs = self.logits(student, teacher)
        value = quality_focal(ours, theirs.sigmoid()).sum(2)
        scores = self.reduce(value, ours, theirs, context, None)
        if not self.boxes:
            return scores
        box, target, sample = boxes_at_objects(student, teacher, self.spec, context)
        if self.layout == "anchor_head":
            error = residual_smooth_l1(box, target)
        else:
            error = F.smooth_l1_loss(box, target, reduction="none", beta=1 / 9).sum(1)
        share = self.sample_weight(context)
        error = error if share is None else error * share[sample]
        return scores + self.boxes * masked_mean(error[None])

    def _published(self, student: Any, teacher: Any, context: Context) -> Tensor:
        """Return the sum over tasks and samples in the authors' form."""
        if self.layout != "center_head":
            raise UserError("official_parity with an anchor head", f"term {self.name}")
        total, first = student[0][0]["heatmap"].new_zeros(()), 0
        for (ours,), (theirs,) in zip(student, teacher):
            p, q = (m["heatmap"].sigmoid().clamp(1e-4, 1 - 1e-4) for m in (ours, theirs))
            total = total + 0.25 * quality_focal(p, q.sigmoid()).sum() / p[0, 0].numel()
            last = first + p.shape[1]
            index = self._slots(context, range(first, last), p.device)  # (B, slots)
            codes = [
                torch.cat([m[name] for name in (*BOX_MAPS, "vel")], 1).flatten(2)
                for m in (ours, theirs)
            ]
            found = [c.gather(2, index[:, None].expand(-1, c.shape[1], -1)) for c in codes]
            gap = (found[0] - found[1]) * p.new_tensor(CODE_WEIGHTS)[:, None]
            gap = torch.cat([gap[:, :6], gap[:, 6:7].sin(), gap[:, 7:]], 1)  # taken for an angle
            error = F.smooth_l1_loss(gap, torch.zeros_like(gap), reduction="sum", beta=1 / 9)
            total = total + 0.25 * error / self.slots
            first = last
        return total

    def _slots(self, context: Context, classes: range, device: torch.device) -> Tensor:
        """Return (B, slots) cells of the objects of a task, then 0."""
        index = torch.zeros((len(context.boxes), self.slots), dtype=torch.long, device=device)
        for i, (boxes, labels) in enumerate(zip(context.boxes, context.labels)):
            row, column, inside = centre_cells(boxes.to(device), *self.spec.grid)
            labels = labels.to(device)
            inside = inside & (labels >= classes.start) & (labels < classes.stop)
            cells = (row * self.spec.grid[1][1] + column)[inside][: self.slots]
            index[i, : len(cells)] = cells
        return index
