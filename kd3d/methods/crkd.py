"""CRKD: early activation, enlarged boxes, affinities and responses of a stronger sensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kd3d.adapters.calibration import calibration, convolution_pair
from kd3d.core.card import MethodCard
from kd3d.core.context import Context
from kd3d.core.head_term import LAYOUTS
from kd3d.core.map_term import BevTerm
from kd3d.core.part_weights import part_weights
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.spec import FeatureSpec
from kd3d.errors import UserError
from kd3d.losses import absolute_error, squared_error
from kd3d.losses.feature.standardise import standardised
from kd3d.losses.logit.head_response import BOX_MAPS, center_boxes, center_scores
from kd3d.losses.logit.head_scores import class_scores, mean_logit_scores
from kd3d.losses.similarity.affinity import affinity_difference
from kd3d.masks.boxes import box_mask
from kd3d.masks.enlarged import diagonal_rectangles, enlarged_boxes, rectangle_mask
from kd3d.methods.response import ResponseTerm

CARD = MethodCard(
    name="crkd",
    title="L. Zhao, J. Song, K. A. Skinner: CRKD: Enhanced camera-radar object detection with "
    "cross-modality knowledge distillation",
    venue="CVPR 2024",
    paper="arXiv:2403.19104",
    idea="A camera-radar student follows a LiDAR-camera teacher: its early map shows where the "
    "teacher sees objects (CSRD), its BEV map imitates the teacher's in boxes that grow with range "
    "and speed (MSFD) and keeps its affinities (RelD), its head follows the response (RespD).",
    equation="L = a |A(s_early) - H_t| + b sum_i m_i |s_i - t_i|^2 / (2 C sum_i m_i) + c sum_k "
    "|G_s^k - G_t^k| + QFL(s, t) + d sum_i h_i |b_s - b_t|",
    source=("feature", "similarity", "logit"),
    routes=("lidar+camera to camera+radar",),
    schemes=("offline", "self"),
    algorithm=(),
    needs=("stage0", "bev", "head", "gt_boxes"),
    heads=("CenterHead", "Anchor3DHead"),
    status=("parity-tested",),
    differences=(
        "any two detectors with BEV maps; in the paper the early map is the radar's, whose "
        "calibrated form the student also uses at inference, which a stock detector does not",
        "CSRD: the target is the highest class score, and a sigmoid gives the activation; the "
        "authors average logits over classes and scores over tasks, and use ReLU",
        "MSFD: rotated boxes in metres, speed in the box's frame, the teacher standardised per "
        "channel; the authors span rectangles of cells between two corners, which miss rotated "
        "boxes, fix 180 cells, and divide by the batch twice",
        "RelD: cosines of area-averaged cells; the authors' inner products grow with width and "
        "energy, skip cells when resizing, and are divided by the batch twice",
        "RespD: normalised as in the method response, a score once squashed; in the authors' "
        "code in float32 the student's scores pass the sigmoid twice",
        "weights 10, 2, 1 and 1 with boxes 0.25 suit these means, not tuned; the authors' are 100, "
        "10, 0.25 and 1 with boxes 40",
        "not between online peers, since the two sides of CSRD have other taps; the rest holds "
        "there with weights=dict(csrd=None)",
        "a sample without objects gives 0; the authors' code stops there",
        "official_parity=True: all of the authors' forms; half_precision=True their float16 path, "
        "in which scores are squashed once",
    ),
    zero_when_equal=False,
)


USUAL = dict(csrd=10.0, msfd=2.0, reld=1.0, respd=1.0)
OFFICIAL = dict(csrd=100.0, msfd=10.0, reld=0.25, respd=1.0)


@METHODS.register_module()
def crkd(
    teacher: str = "teacher",
    weights: dict[str, float | dict | None] | None = None,
    early: str = "stage0",
    features: Sequence[str] = ("bev",),
    boxes: float = 0.25,
    velocity: bool = False,
    task_weights: Sequence[float] | None = None,
    official_parity: bool = False,
    half_precision: bool = False,
) -> list[dict[str, Any]]:
    """Return the terms of CRKD.

    Args:
        teacher: The teacher's name.
        weights: Weights (or schedules) of ``csrd``, ``msfd``, ``reld``, ``respd`` that differ from
            the usual ones; None leaves a term out.
        early: Tap of the student's early map, such as its radar's.
        features: Taps of both models for the imitation, such as fused and camera maps; the
            affinities are those of the first.
        boxes: Weight of the response's box part, relative to it; published 40.
        velocity: Compare the velocity maps of centre heads in the response, too.
        task_weights: Factors on a centre head's tasks in the response; None: 1 (the authors for
            nuScenes: 2, 2, 2, 1, 2, 1).
        official_parity: The authors' forms and weights.
        half_precision: With `official_parity`: their float16 path.
    """
    usual = OFFICIAL if official_parity else USUAL
    response = dict(boxes=boxes, velocity=velocity, task_weights=task_weights)
    response["squashed_twice"] = official_parity and not half_precision
    kinds: dict[str, list[tuple[str, str, str, dict]]] = {
        "csrd": [("EarlyActivationTerm", early, "head", {})],
        "msfd": [("EnlargedBoxTerm", tap, tap, {}) for tap in features],
        "reld": [("AffinityTerm", features[0], features[0], {})],
        "respd": [("FusedResponseTerm", "head", "head", response)],
    }
    return [
        dict(
            type=kind,
            name=f"{key}{i or ''}",
            student=f"student:{ours}",
            teacher=f"{teacher}:{theirs}",
            weight=weight,
            official_parity=official_parity,
            **options,
        )
        for key, weight in part_weights(usual, weights, "crkd").items()
        for i, (kind, ours, theirs, options) in enumerate(kinds[key])
    ]


@TERMS.register_module()
class EarlyActivationTerm(BevTerm):
    """An early map says where the teacher's head sees objects (CSRD); see `crkd`."""

    any_width = True

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Make the calibration and the activation layer."""
        self.head = teacher.layout
        if self.head not in LAYOUTS or (self.official and self.head != "center_head"):
            wanted = "a centre head" if self.official else "a centre head or an anchor head"
            raise UserError(f"the teacher has {teacher}", f"term {self.name}", f"tap {wanted}")
        super().build(student, replace(teacher, layout="map", channels=1))
        self.calibration = calibration(student.channels)
        self.activation = nn.Conv2d(student.channels, 1, 1, bias=not self.official)
        if self.activation.bias is not None:
            nn.init.constant_(self.activation.bias, -2.19)  # score 0.1, as heads start

    def reads(self) -> dict[str, Any] | None:
        """Return the maps of a centre head that are compared."""
        return {"maps": ["heatmap"]} if self.head == "center_head" else None

    def distance(self, student: Tensor, teacher: Any, context: Context) -> Tensor:
        """Return the mean over cells of the absolute difference to the teacher's scores."""
        if self.official:
            target = mean_logit_scores(teacher)
        else:
            target = class_scores(teacher, self.head).amax(1, keepdim=True)
        ours, target, valid = self.maps(student, target)
        active = self.activation(self.calibration(ours))
        active = active.relu() if self.official else active.sigmoid()
        return self.mean(absolute_error(active, target), context, valid)


@TERMS.register_module()
class EnlargedBoxTerm(BevTerm):
    """Imitation in enlarged boxes, where the teacher has a feature (MSFD); see `crkd`."""

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return half the mean squared error over cells of boxes and channels."""
        theirs, valid = self.adapter.teacher(teacher)
        mask = self.region(context, theirs.device) * (theirs != 0).any(1, keepdim=True)
        mask = mask if valid is None else mask * valid
        theirs = standardised(theirs) if self.normalise_teacher else theirs
        value = self.mean(squared_error(self.adapter(student), theirs) / 2, context, mask)
        return value / len(student) if self.official else value

    def region(self, context: Context, device: torch.device) -> Tensor:
        """Return the (B, 1, H, W) mask of the enlarged boxes."""
        extent, shape = self.spec.extent_m, self.spec.shape
        assert extent is not None
        assert shape is not None
        moves: list[Any] = context.velocities or [None] * len(context.boxes)
        boxes = [
            enlarged_boxes(box.to(device), move, fixed=self.official)
            for box, move in zip(context.boxes, moves)
        ]
        if not self.official:
            return box_mask(boxes, extent, shape)
        return rectangle_mask([diagonal_rectangles(box, extent, shape) for box in boxes], shape)


@TERMS.register_module()
class AffinityTerm(BevTerm):
    """Affinities between the cells of two maps at several scales (RelD); see `crkd`.

    Args:
        name: See `Term`.
        student: See `Term`.
        teacher: See `Term`.
        weight: See `Term`.
        scales: Cells along each side of the maps that are compared.
        adapt: Give the student a pair of convolutions at each scale.
        official_parity: Inner products of bilinearly resized maps, divided by the batch again.
    """

    any_width = True

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict = 1.0,
        scales: Sequence[int] = (32, 16, 8, 4),
        adapt: bool = True,
        official_parity: bool = False,
    ) -> None:
        super().__init__(name, student, teacher, weight, official_parity=official_parity)
        self.scales, self.adapt = tuple(scales), adapt

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Make a pair of convolutions for each scale."""
        super().build(student, teacher)
        pair = convolution_pair if self.adapt else lambda *_: nn.Identity()
        self.pairs = nn.ModuleList(pair(student.channels, teacher.channels) for _ in self.scales)

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return the sum over scales of the mean difference of affinities."""
        ours, theirs, valid = self.maps(student, teacher)
        total = ours.new_zeros(())
        for scale, pair in zip(self.scales, self.pairs):
            cells = [self._resized(m, scale, valid) for m in (ours, theirs)]
            value = affinity_difference(
                pair(cells[0]).flatten(2), cells[1].flatten(2), cosine=not self.official
            )
            mask = None
            if valid is not None:
                seen = (self._resized(valid, scale, None) > 0).flatten(1).to(value)
                mask = seen[:, :, None] * seen[:, None]
            total = total + self.mean(value, context, mask)
        return total / len(student) if self.official else total

    def _resized(self, feature: Tensor, scale: int, valid: Tensor | None) -> Tensor:
        if self.official:
            return F.interpolate(feature, (scale, scale), mode="bilinear", align_corners=False)
        height, width = (min(scale, side) for side in feature.shape[2:])
        seen = feature if valid is None else feature * valid
        return F.adaptive_avg_pool2d(seen, (height, width))


@TERMS.register_module()
class FusedResponseTerm(ResponseTerm):
    """The response of a fusion teacher (RespD); see `crkd` and `kd3d.methods.response`."""

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict = 1.0,
        boxes: float = 0.25,
        velocity: bool = False,
        task_weights: Sequence[float] | None = None,
        squashed_twice: bool = False,
        official_parity: bool = False,
    ) -> None:
        super().__init__(
            name, student, teacher, weight, boxes=boxes, official_parity=official_parity
        )
        self.maps = (*BOX_MAPS, "vel") if velocity else BOX_MAPS
        self.task_weights, self.squashed_twice = task_weights, squashed_twice

    def reads(self) -> dict[str, Any] | None:
        """Return the maps of a centre head that are compared."""
        known = super().reads()
        return known and {"maps": ["heatmap", *(self.maps if self.boxes else ())]}

    def _task(self, index: int, ours: dict, theirs: dict, heat: Tensor) -> Tensor:
        factor = 1.0 if self.task_weights is None else self.task_weights[index]
        if not self.official:
            return factor * super()._task(index, ours, theirs, heat)
        logits, soft = ours["heatmap"], heat.sigmoid()
        if self.squashed_twice:
            logits = logits.sigmoid().clamp(1e-4, 1 - 1e-4)
        low = 0.1
        while low > 0 and not (soft.sum(1) > low).any():
            low -= 0.01  # the authors always find a cell
        channels = sum(ours[name].shape[1] for name in self.maps)
        boxes = center_boxes(ours, theirs, low, sum_classes=True, maps=self.maps) / channels
        return factor * (center_scores(logits, heat, confident=0.3, clamp=1e-4) + 40.0 * boxes)
