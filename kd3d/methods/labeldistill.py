"""LabelDistill: a LiDAR teacher and encoded labels, each for a third of the student's channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kd3d.adapters.label_encoder import LabelEncoder
from kd3d.core.at_objects import boxes_at_objects, centre_maps
from kd3d.core.card import MethodCard
from kd3d.core.context import Context
from kd3d.core.detection_targets import BOX_NUMBERS, output_error, paint
from kd3d.core.head_rest import MID, HeadRest
from kd3d.core.head_term import HeadTerm
from kd3d.core.near_term import NearTerm
from kd3d.core.part_weights import part_weights
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.spec import FeatureSpec
from kd3d.core.taps import head_of
from kd3d.core.teacher_boxes import surest
from kd3d.core.term import beside
from kd3d.errors import UserError, did_you_mean
from kd3d.losses import squared_error
from kd3d.losses.logit.gaussian_focal import gaussian_focal
from kd3d.losses.logit.head_response import BOX_MAPS
from kd3d.losses.logit.quality_focal import quality_focal
from kd3d.losses.reduce import global_normaliser, masked_mean
from kd3d.masks.boxes import centre_cells, class_gaussians

CARD = MethodCard(
    name="labeldistill",
    title="S. Kim, Y. Kim, S. Hwang, H. Jeong, D. Kum: LabelDistill: Label-guided cross-modal "
    "knowledge distillation for camera-based 3D object detection",
    venue="ECCV 2024",
    paper="arXiv:2407.10164",
    idea="Besides the teacher's features the student learns those of an encoder that turns the "
    "ground truth into what the teacher's frozen head reads as the ground truth, free of the "
    "sensor's noise; each has a third of the student's channels, one third is free.",
    equation="L = a [sum_i g_i |P s_i^(1) - E(y)_i|^2 + sum_i g_i |P' s_i^(2) - t_i|^2] / sum_i g_i"
    " + b [sum_i g_i QFL(s_i, q_i) / sum_i g_i + c mean_o |r_o^S - r_o^T|_1] + "
    "det(head_T(E(y)), y)",
    source=("feature", "logit"),
    routes=("lidar to camera",),
    schemes=("offline", "self"),
    algorithm=("multi-teacher",),
    needs=("bev", "head", "head_mid", "gt_boxes"),
    heads=("CenterHead",),
    status=("parity-tested",),
    differences=(
        "without labels=... the encoder is trained along with the student, whose third follows it "
        "more and more over the first tenth of the training; it then inverts the teacher's head "
        "behind its shared convolution, and its loss counts where gradients are clipped. With a "
        "teacher of type LabelDetector, trained in a stage before and frozen, as in the paper, it "
        "inverts neck and head, at all levels of the backbone; the authors' encoder has two",
        "cells whose centre lies in a box hold its code relative to the cell, and its class; in "
        "the authors' code rectangles of half the length and width hold raw numbers",
        "one level (taps for more); means over channels, of a teacher that is standardised per "
        "channel, under the Gaussians of all classes; the authors sum over channels, and over the "
        "classes of the Gaussians",
        "thirds are of one frame's channels; with two further frames the authors' second third is "
        "the features of a frame without gradient",
        "response: quality focal loss towards the teacher's scores, a mean under the Gaussians; "
        "the authors' focal loss towards scores times Gaussians has no positives, as that is never "
        "1, and pushes scores down, most where there is no object. Velocities are not compared",
        "weights 1, 1 and 0.5 with boxes 0.25, not tuned; the authors' are 0.3, 0.3 and 1",
        "official_parity=True: the authors' sums, masks, response and weights; the encoder is ours",
    ),
    zero_when_equal=False,
)
USUAL = dict(label=1.0, lidar=1.0, response=0.5)
OFFICIAL = dict(label=0.3, lidar=0.3, response=1.0)
SHARES = ("first", "second", "all")


@METHODS.register_module()
def labeldistill(
    teacher: str = "teacher",
    weights: dict[str, float | dict | None] | None = None,
    tap: str = "bev",
    taps: Sequence[str] = ("bev",),
    boxes: float = 0.25,
    start: float = 0.1,
    labels: str | None = None,
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the terms of LabelDistill.

    Args:
        teacher: The teacher's name.
        weights: Weights (or schedules) of ``label``, ``lidar``, ``response`` that differ from the
            usual ones; None leaves a term out.
        tap: The student's, whose first third of channels follows the labels; without `labels`.
        taps: Of both models, where the student's second third follows the teacher; with `labels`
            also of the encoder, which the first third follows there.
        boxes: Weight of the response's box part, relative to its scores.
        start: Share of the training after which the student follows the encoder fully; without
            `labels`.
        labels: Name of a second teacher, an encoder of labels that was trained in a stage before
            (`kd3d.models.bev.label_detector.LabelDetector`); None: it is trained along.
        official_parity: The authors' forms and weights.
    """
    usual = OFFICIAL if official_parity else USUAL
    encoder: list[tuple[str, str, str, dict]] = [
        ("LabelTerm", tap, f"{teacher}:{MID},head", dict(start=start))
    ]
    if labels is not None:
        first = dict(share="first", binary=True)
        encoder = [("ThirdTerm", one, f"{labels}:{one}", first) for one in taps]
    kinds: dict[str, list[tuple[str, str, str, dict]]] = {
        "label": encoder,
        "lidar": [("ThirdTerm", one, f"{teacher}:{one}", {}) for one in taps],
        "response": [("LabelResponseTerm", "head", f"{teacher}:head", dict(boxes=boxes))],
    }
    return [
        dict(
            type=kind,
            name=f"{part}{i or ''}",
            student=f"student:{ours}",
            teacher=theirs,
            weight=weight,
            official_parity=official_parity,
            **options,
        )
        for part, weight in part_weights(usual, weights, "labeldistill").items()
        for i, (kind, ours, theirs, options) in enumerate(kinds[part])
    ]


@TERMS.register_module()
class ThirdTerm(NearTerm):
    """Imitation near objects by a part of the student's channels; see `labeldistill`.

    Args:
        *sides: See `NearTerm`.
        share: Which third of the student's channels, ``first`` or ``second``; or ``all``.
        binary: In the published form cells count alike where a Gaussian reaches.
        **options: See `NearTerm`.
    """

    def __init__(
        self, *sides: Any, share: str = "second", binary: bool = False, **options: Any
    ) -> None:
        super().__init__(*sides, **options)
        if share not in SHARES:
            hint = did_you_mean(share, SHARES)
            raise UserError(f"unknown share {share!r}", f"term {self.name}", hint)
        self.share, self.binary = share, binary
        self.heat = f"{self.student_branch}:{beside(self.student_tap, 'head')}"

    def further(self) -> tuple[str, ...]:
        """Return the student's head, whose grid the published mask is drawn on."""
        return (self.heat,) if self.official else ()

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Make the adapter of the student's share of channels."""
        width = student.channels // 3
        if width < 1:
            raise UserError(f"{student} has no thirds", f"term {self.name}", "a wider map")
        first = {"first": 0, "second": width, "all": 0}[self.share]
        self.slice = slice(first, student.channels if self.share == "all" else first + width)
        count = self.slice.stop - self.slice.start
        own = FeatureSpec(count, student.layout, student.shape, student.extent_m)
        super().build(own, teacher)

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return the mean near objects."""
        return super().distance(student[:, self.slice], teacher, context)

    def near(
        self,
        student: Tensor,
        teacher: Tensor,
        context: Context,
        mask: Tensor,
        valid: Tensor | None = None,
    ) -> Tensor:
        """Return the mean error; published: sums over channels, a normaliser of 1 or more."""
        if not self.official:
            return super().near(student, teacher, context, mask, valid)
        mask = mask if valid is None else mask * valid
        error = (squared_error(student, teacher) * student.shape[1] * mask[:, 0]).sum((1, 2))
        weight = self.sample_weight(context)
        error = error if weight is None else error * weight
        return error.sum() / global_normaliser(mask.sum(), minimum=1.0)

    def region(self, context: Context, device: torch.device) -> Tensor:
        """Return the (B, 1, H, W) Gaussians; published: their sum over classes, resized."""
        if not self.official:
            return super().region(context, device)
        maps = self.truth(context, device).sum(1, keepdim=True)
        if maps.shape[2:] != self.spec.grid[1]:
            maps = F.interpolate(maps, self.spec.grid[1], mode="bilinear", align_corners=True)
        return (maps > 0).to(maps) if self.binary else maps

    def truth(self, context: Context, device: torch.device) -> Tensor:
        """Return the (B, K, H, W) heat maps of the ground truth on the head's cells."""
        boxes = [box.to(device) for box in context.boxes]
        classes = sum(dict(task)["heatmap"] for task in self.further_specs[self.heat].maps)
        return class_gaussians(boxes, context.labels, classes, *self.further_specs[self.heat].grid)


@TERMS.register_module()
class LabelTerm(ThirdTerm):
    """An encoder of labels is trained through the teacher's head, and imitated; see `labeldistill`.

    The teacher's tap is the features behind its shared convolution, then its head's output; of both
    the specs alone are read.

    Args:
        *sides: See `ThirdTerm`.
        start: Share of the training over which the imitation's weight grows from 0 to 1.
        box_weight: Of the encoder's loss, relative to its scores.
        **options: See `ThirdTerm`.
    """

    needs_detector = True

    def __init__(
        self, *sides: Any, start: float = 0.1, box_weight: float = 0.25, **options: Any
    ) -> None:
        usual: dict[str, Any] = {"share": "first", "binary": True}
        super().__init__(*sides, **usual | options)
        self.start, self.box_weight = start, box_weight

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Make the adapter and the encoder; refuse what has no centre head."""
        feature, self.head_spec = teacher.each[0], teacher.each[-1]
        if self.head_spec.layout != "center_head":
            where = f"term {self.name}"
            raise UserError(f"the teacher has {self.head_spec}", where, "a centre head")
        self._rest()  # refuses a head without this point
        super().build(student, feature)
        self.widths = [dict(task)["heatmap"] for task in self.head_spec.maps]
        self.encoder = LabelEncoder(BOX_NUMBERS, sum(self.widths), feature.channels)

    def reads(self) -> None:
        """A store cannot hold the teacher's head."""
        return None

    def distance(self, student: Tensor, teacher: Any, context: Context) -> Tensor:
        """Return the encoder's loss plus that of the imitation.

        Args:
            student: (B, C, H, W).
            teacher: Not read.
            context: The batch.
        """
        truth = self._truth(context, student.device)
        code = self.encoder(*paint(truth, sum(self.widths), *self.head_spec.grid))
        output = self._rest()([code])
        inverse = output_error(output, truth, self.head_spec, self.widths, self.box_weight)
        grown = 1.0 if self.start <= 0 else min(1.0, context.progress / self.start)
        return inverse + grown * super().distance(student, code.detach(), context)

    def _truth(self, context: Context, device: torch.device) -> list[dict[str, Tensor]]:
        """Return the ground truth on the teacher's map, as sure detections."""
        known = sum(self.widths)
        samples = []
        for boxes, labels in zip(context.boxes, context.labels):
            fits = (labels >= 0) & (labels < known)
            scores = torch.ones(int(fits.sum()), device=boxes.device)
            samples.append({"boxes": boxes[fits], "labels": labels[fits], "scores": scores})
        most = max((len(one["labels"]) for one in samples), default=0)
        return surest(samples, most, (self.head_spec,), device)

    def _rest(self) -> HeadRest:
        return HeadRest(head_of(self.detector()), MID, f"term {self.name}")


@TERMS.register_module()
class LabelResponseTerm(HeadTerm):
    """The teacher's scores and boxes at objects; see `labeldistill`."""

    weighs_samples = False  # one normaliser serves the whole batch

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict = 1.0,
        boxes: float = 0.25,
        official_parity: bool = False,
    ) -> None:
        super().__init__(name, student, teacher, weight)
        self.boxes, self.official = boxes, official_parity

    def reads(self) -> dict[str, Any] | None:
        """Return the maps of a centre head that are compared."""
        known = super().reads()
        return {"maps": [*known["maps"], "vel"]} if known and self.official else known

    def distance(self, student: Any, teacher: Any, context: Context) -> Tensor:
        """Return scores + boxes * box part."""
        ours, theirs = self.logits(student, teacher)
        near = self.truth(ours.shape[2], ours.device, context)
        if self.official:
            return self._published(student, teacher, near, context)
        weight = near.flatten(2).transpose(1, 2)  # as the rows (B, N, K)
        value = quality_focal(ours, theirs.sigmoid())
        scores = masked_mean(value.flatten(1), weight.flatten(1))
        if not self.boxes:
            return scores
        box, wanted, _ = boxes_at_objects(student, teacher, self.spec, context)
        return scores + self.boxes * masked_mean((box - wanted).abs().sum(1)[None])

    def truth(self, classes: int, device: torch.device, context: Context) -> Tensor:
        """Return the (B, K, H, W) heat maps of the ground truth."""
        return self._class_maps(classes, device, context)

    def _published(self, student: Any, teacher: Any, near: Tensor, context: Context) -> Tensor:
        """Return the sum over tasks in the authors' form."""
        total, first = near.new_zeros(()), 0
        centres = centre_maps(context, self.spec, near.shape[1], near.device)
        known = self._known(context, near)
        for (ours,), (theirs,) in zip(student, teacher):
            own = slice(first, first + ours["heatmap"].shape[1])
            first = own.stop
            p, q = (m["heatmap"].sigmoid().clamp(1e-4, 1 - 1e-4) for m in (ours, theirs))
            count = global_normaliser((near[:, own] == 1).sum().to(p), minimum=1.0)
            total = total + gaussian_focal(p, q * near[:, own]).sum() / count
            sample, row, column = (centres[:, own].amax(1) > 0).nonzero().unbind(1)
            gap = torch.cat([ours[k] - theirs[k] for k in (*BOX_MAPS, "vel")], 1)
            gap = gap[sample, :, row, column].abs()  # (N, 10)
            gap = torch.cat([gap[:, :8], gap[:, 8:] * known[sample, row, column, None]], 1)
            objects = global_normaliser(gap.new_tensor(float(len(gap))), minimum=1e-4)
            total = total + 0.25 * gap.sum() / objects
        return total

    def _known(self, context: Context, near: Tensor) -> Tensor:
        """Return (B, H, W): 0 in the cells of objects whose velocity is not a number, else 1."""
        known = torch.ones_like(near[:, 0])
        for i, (boxes, velocity) in enumerate(zip(context.boxes, context.velocities)):
            row, column, inside = centre_cells(boxes.to(near), *self.spec.grid)
            unknown = inside & velocity.to(near).isnan().any(1)
            known[i, row[unknown], column[unknown]] = 0.0
        return known
