"""RadarDistill: imitation where maps are active, and at proposals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kd3d.adapters import MetricResample
from kd3d.core.card import MethodCard
from kd3d.core.context import Context
from kd3d.core.head_term import LAYOUTS
from kd3d.core.map_term import BevTerm
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.sentences import detached
from kd3d.core.spec import FeatureSpec
from kd3d.core.term import beside
from kd3d.errors import UserError, did_you_mean
from kd3d.losses import squared_error
from kd3d.losses.feature.channel_softmax import softmax_difference
from kd3d.losses.feature.standardise import standardised
from kd3d.losses.logit.head_scores import class_scores
from kd3d.masks.activity import active_cells, proposal_regions
from kd3d.masks.boxes import gaussian_mask

CARD = MethodCard(
    name="radardistill",
    title="G. Bang, K. Choi, J. Kim, D. Kum, J. W. Choi: RadarDistill: Boosting radar-based object "
    "detection performance via knowledge distillation from LiDAR features",
    venue="CVPR 2024",
    paper="arXiv:2403.05061",
    idea="Low-level maps are imitated where both sensors respond and, less, where only the "
    "student's does (AFD); high-level maps at objects and at the student's false alarms (PFD).",
    equation="AFD = a mean_{s and t active} |s - t|^2 + b mean_{s only} |s - t|^2 + "
    "mean |sigma(act(s)) - [t active]|; PFD = 5 mean_{objects} d + mean_{false alarms} d, "
    "d = sum_c |softmax_c(s) - softmax_c(t)|",
    source=("feature",),
    routes=("lidar to radar",),
    schemes=("offline", "online", "self"),
    algorithm=("attention",),
    needs=("stage0", "bev", "head", "gt_boxes"),
    same=(),
    heads=("CenterHead", "Anchor3DHead"),
    status=("parity-tested",),
    differences=(
        "any two detectors with BEV maps; the authors' radar network densifies its low-level maps "
        "by a cross-modality alignment that it keeps at inference, which a stock detector has not",
        "a cell is active by the mean of |f|, above its average over the map; the authors take a "
        "sum over channels above 0, which says nothing for maps with negative values",
        "AFD: means over cells and channels with weights 1 and 1/6, on a teacher standardised per "
        "channel, after a projection; the authors' sums per sample with weights 3e-4 and 5e-5 "
        "#AR / #IR (the same ratio) grow with the number of active cells, and are NaN where no "
        "cell of the student is active alone, here 0",
        "AFD: the student's activity is a trained 1x1 projection; the authors' is the sum over "
        "its channels",
        "weights 1 and 1 suit these means, not tuned; the authors' are 5 and 25, shared by two "
        "levels each",
        "official_parity=True: raw maps, sums over channels above 0, the authors' sums and weights",
    ),
    zero_when_equal=False,
)
ACTIVATIONS = ("magnitude", "sum")


@METHODS.register_module()
def radardistill(
    teacher: str = "teacher",
    low: float | dict | None = None,
    high: float | dict | None = None,
    low_taps: Sequence[str] = ("stage0",),
    high_taps: Sequence[str] = ("bev",),
    activation: str | None = None,
    threshold: float = 1.0,
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the terms of RadarDistill: one for each low and each high level.

    Args:
        teacher: The teacher's name.
        low: Weight (or schedule) of each low-level term; None: 1 over the number of levels,
            published 5 over it.
        high: Weight of each high-level term; None: 1 over the number of levels, published 25.
        low_taps: Taps of both models for the low levels, such as the output of a sparse encoder
            (``bev_in``, with ``threshold=0``).
        high_taps: Taps of both models for the high levels; the student's needs a head.
        activation: ``magnitude`` or ``sum``; None: magnitude, published sum.
        threshold: Magnitude from which a cell is active, relative to the map's mean; see
            `kd3d.masks.activity.active_cells`.
        official_parity: The authors' sums and weights.
    """
    active = activation or ("sum" if official_parity else "magnitude")
    low_options: dict[str, Any] = dict(activation=active, threshold=threshold)
    usual = (5.0, 25.0) if official_parity else (1.0, 1.0)
    levels = [
        ("ActivityTerm", "afd", low_taps, low, usual[0], low_options),
        ("ProposalTerm", "pfd", high_taps, high, usual[1], {}),
    ]
    return [
        dict(
            type=kind,
            name=f"{name}{i or ''}",
            student=f"student:{tap}",
            teacher=f"{teacher}:{tap}",
            weight=default / len(taps) if weight is None else weight,
            official_parity=official_parity,
            **options,
        )
        for kind, name, taps, weight, default, options in levels
        for i, tap in enumerate(taps)
    ]


@TERMS.register_module()
class ActivityTerm(BevTerm):
    """Imitation of active cells, and of which cells are active (AFD); see `radardistill`."""

    def __init__(
        self, *sides: Any, activation: str = "magnitude", threshold: float = 1.0, **options: Any
    ) -> None:
        super().__init__(*sides, **options)
        if activation not in ACTIVATIONS:
            where, hint = f"term {self.name}", did_you_mean(activation, ACTIVATIONS)
            raise UserError(f"unknown activation {activation!r}", where, hint)
        self.how: dict[str, Any] = dict(activation=activation, threshold=threshold)

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Make the adapter, and the student's activity."""
        super().build(student, teacher)
        if not self.official:
            self.activity = nn.Conv2d(student.channels, 1, 1)

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return the distances at active cells and that of the activities."""
        target, valid = self.adapter.teacher(teacher)
        ours = self.adapter(student)
        theirs_active = active_cells(target, **self.how)
        seen = ours if self.official else student
        ours_active = active_cells(seen, **self.how)
        logits = ours.sum(1, keepdim=True) if self.official else self.activity(student)
        theirs = target if self.official else standardised(target)
        both, alone = ours_active * theirs_active, ours_active * (1 - theirs_active)
        if valid is not None:
            both, alone = both * valid, alone * valid
        error = squared_error(ours, theirs)
        activity = self.mean((logits.sigmoid() - theirs_active).abs()[:, 0], context, valid)
        if not self.official:
            active = self.mean(error, context, both) + self.mean(error, context, alone) / 6
            return active + activity
        error = error * ours.shape[1]
        ratio = both.sum() / alone.sum().clamp(min=1)  # 0 / 0 is NaN in the authors' code
        weight = 3e-4 * both + 5e-5 * ratio * alone
        return self.mean((error * weight[:, 0]).sum((1, 2)), context) + activity


@TERMS.register_module()
class ProposalTerm(BevTerm):
    """Imitation at objects and at the student's false alarms (PFD); see `radardistill`."""

    def further(self) -> tuple[str, ...]:
        """Return the student's own head, which says where its false alarms are."""
        return (f"{self.student_branch}:{beside(self.student_tap, 'head')}",)

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Make the adapter, and align the student's head with its map."""
        super().build(student, teacher)
        head = self.further_specs[self.further()[0]]
        if head.layout not in LAYOUTS:
            where = f"term {self.name}"
            raise UserError(f"the student's head gives {head}", where, "a centre or anchor head")
        self.layout, self.heat = head.layout, None
        if not head.same_grid(student):
            self.heat = MetricResample(head, student, f"term {self.name}")

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return 5 times the mean at objects and that at false alarms."""
        ours, theirs, valid = self.maps(student, teacher)
        regions = self.regions(context, ours.device)
        value = softmax_difference(ours, theirs)
        objects, alarms = (r if valid is None else r * valid for r in regions)
        return 5 * self.mean(value, context, objects) + self.mean(value, context, alarms)

    def regions(self, context: Context, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return the (B, 1, H, W) masks of objects and of false alarms."""
        output = detached(context.taps[self.further()[0]])
        scores = class_scores(output, self.layout).amax(1, keepdim=True)
        scores = scores if self.heat is None else self.heat(scores)
        return proposal_regions(self.truth(context, device), scores)

    def truth(self, context: Context, device: torch.device) -> Tensor:
        """Return the (B, 1, H, W) heat map of the ground truth."""
        assert self.spec.extent_m is not None
        assert self.spec.shape is not None
        boxes = [box.to(device) for box in context.boxes]
        return gaussian_mask(boxes, self.spec.extent_m, self.spec.shape)
