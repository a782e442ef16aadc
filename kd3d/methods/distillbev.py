"""DistillBEV: objects, false alarms and background apart, under the teacher's attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kd3d.core.card import MethodCard
from kd3d.core.context import Context
from kd3d.core.map_term import BevTerm
from kd3d.core.part_weights import part_weights
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.score_map import ScoreMap
from kd3d.core.spec import FeatureSpec
from kd3d.core.term import beside
from kd3d.errors import UserError, did_you_mean
from kd3d.losses.feature.focal import cell_attention, channel_attention, focal_error
from kd3d.masks.boxes import gaussian_mask
from kd3d.masks.decomposed import ALARMS, false_alarms, scaled_objects

CARD = MethodCard(
    name="distillbev",
    title="Z. Wang, D. Li, C. Luo, C. Xie, X. Yang: DistillBEV: Boosting multi-camera 3D object "
    "detection with cross-modal knowledge distillation",
    venue="ICCV 2023",
    paper="arXiv:2309.15109",
    idea="A student's map imitates the teacher's in objects, small ones as much as large ones, in "
    "false alarms, and in the background, each with a weight of its own, where and in the channels "
    "in which the teacher is active; the average over cells and over channels is imitated too.",
    equation="L = a sum_F s A^S A^C (t - s)^2 + b sum_B A^S A^C (t - s)^2 + c sum_P A^S A^C "
    "(t - s)^2 + d |mean_i t - mean_i s|_1 + e |mean_c t - conv(mean_c s)|_1",
    source=("feature",),
    routes=("lidar to camera", "lidar+camera to camera"),
    schemes=("offline", "online", "self"),
    algorithm=("attention",),
    needs=("bev", "head", "gt_boxes"),
    same=(),
    heads=("CenterHead", "Anchor3DHead"),
    status=("parity-tested",),
    differences=(
        "a cell is judged by its centre and has the weight of the smallest box that holds it; in "
        "the authors' code by its corner of least x and y, and the first box",
        "false alarms are treated apart, as in the paper; the authors' configs do without "
        "(alarms=None), nor do they read several levels (taps)",
        "each part is a mean (over cells under its weights, and channels) with weights 1, 0.5, 0.5,"
        " 0.5 and 0.5, not tuned, and the teacher's map is standardised per channel; the authors "
        "sum over channels and cells with weights 1.5e-3, 4e-2, 4e-2, 0.25 and 2.5e-3",
        "false alarms weigh alike; the authors' option by connected components counts cells twice",
        "the affinity term, which the authors' configs give the weight 0, is left out",
        "official_parity=True: the authors' corners, sums and weights on raw maps, without alarms",
    ),
    zero_when_equal=False,
)
USUAL = dict(foreground=1.0, background=0.5, alarms=0.5, channels=0.5, cells=0.5)
OFFICIAL = dict(foreground=1.5e-3, background=4e-2, alarms=4e-2, channels=0.25, cells=2.5e-3)


@METHODS.register_module()
def distillbev(
    teacher: str = "teacher",
    weight: float | dict = 1.0,
    taps: Sequence[str] = ("bev",),
    alarms: str | None = "",
    threshold: float = 0.1,
    temperature: float = 0.5,
    parts: dict[str, float] | None = None,
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the terms of DistillBEV, one for each tap.

    Args:
        teacher: The teacher's name.
        weight: Number or schedule of each term.
        taps: Of both models.
        alarms: Whose false alarms are treated apart, see `kd3d.masks.decomposed.false_alarms`;
            None: nobody's; empty: ``apart``, published None.
        threshold: Of scores.
        temperature: tau of the attention over cells and over channels.
        parts: Weights of ``foreground``, ``background``, ``alarms``, ``channels``, ``cells`` that
            differ from the usual ones.
        official_parity: The authors' forms and weights.
    """
    usual = OFFICIAL if official_parity else USUAL
    if alarms == "":
        alarms = None if official_parity else "apart"
    return [
        dict(
            type="DecomposedTerm",
            name=f"decomposed{i or ''}",
            student=f"student:{tap}",
            teacher=f"{teacher}:{tap}",
            weight=weight,
            alarms=alarms,
            threshold=threshold,
            temperature=temperature,
            parts=part_weights(usual, parts, "distillbev"),
            official_parity=official_parity,
        )
        for i, tap in enumerate(taps)
    ]


@TERMS.register_module()
class DecomposedTerm(BevTerm):
    """Imitation by regions and of two averages; see `distillbev`."""

    def __init__(
        self,
        *sides: Any,
        alarms: str | None = "apart",
        threshold: float = 0.1,
        temperature: float = 0.5,
        parts: dict[str, float] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*sides, **options)
        if alarms is not None and alarms not in ALARMS:
            hint = did_you_mean(alarms, ALARMS)
            raise UserError(f"unknown alarms {alarms!r}", f"term {self.name}", hint)
        self.alarms, self.threshold, self.temperature = alarms, threshold, temperature
        self.parts = dict(parts or USUAL)
        self.heads = (
            f"{self.student_branch}:{beside(self.student_tap, 'head')}",
            f"{self.teacher_branch}:{beside(self.teacher_tap, 'head')}",
        )

    def further(self) -> tuple[str, ...]:
        """Return both heads, whose scores say where false alarms are."""
        return () if self.alarms is None else self.heads

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Make the projection, the convolution of the cells' average, and the score maps."""
        super().build(student, teacher)
        self.smooth = nn.Conv2d(1, 1, 3, padding=1)
        self.scores = nn.ModuleList(
            ScoreMap(self.further_specs[head], student, f"term {self.name}")
            for head in self.further()
        )

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return the weighted sum of the parts."""
        ours, theirs, valid = self.maps(student, teacher)
        covered = (
            torch.ones_like(theirs[:, :1])
            if valid is None
            else valid.expand(len(theirs), -1, -1, -1)
        )
        attention = [f(theirs, self.temperature) for f in (cell_attention, channel_attention)]
        error = focal_error(ours, theirs, *attention)
        reduce = self._sum if self.official else self.mean
        width = ours.shape[1] if self.official else 1
        parts = {
            name: width * reduce(error, context, mask * covered)
            for name, mask in self.regions(context, theirs.device).items()
        }
        share = covered / covered.sum((2, 3), keepdim=True).clamp(min=1)
        channels = ((theirs - ours) * share).sum((2, 3)).abs()  # (B, C)
        cells = theirs.mean(1, keepdim=True) - self.smooth((ours * covered).mean(1, keepdim=True))
        parts["channels"] = width * self.mean(channels, context)
        parts["cells"] = reduce(cells.abs()[:, 0], context, covered)
        total = error.new_zeros(())
        return sum((self.parts[key] * value for key, value in parts.items()), total)

    def regions(self, context: Context, device: torch.device) -> dict[str, Tensor]:
        """Return the (B, 1, H, W) weights of objects, background and, if any, false alarms."""
        boxes = [box.to(device) for box in context.boxes]
        objects, scaled = scaled_objects(boxes, *self.spec.grid, corners=self.official)
        background = 1 - objects
        found = {"foreground": scaled}
        if self.alarms is not None:
            ours, theirs = (
                scores(context.taps[head]) for scores, head in zip(self.scores, self.heads)
            )
            truth = self.truth(context, device)
            how: dict[str, Any] = dict(threshold=self.threshold, whose=self.alarms)
            alarms = false_alarms(truth, ours, theirs, objects, **how)
            background = background - alarms
            found["alarms"] = alarms
        found["background"] = background
        for name in set(found) - {"foreground"}:
            found[name] = found[name] / found[name].sum((2, 3), keepdim=True).clamp(min=1)
        return found

    def truth(self, context: Context, device: torch.device) -> Tensor:
        """Return the (B, 1, H, W) heat map of the ground truth."""
        return gaussian_mask([box.to(device) for box in context.boxes], *self.spec.grid)

    def _sum(self, value: Tensor, context: Context, mask: Tensor) -> Tensor:
        """Return the mean over samples of the masked sum over cells."""
        return self.mean((value * mask[:, 0]).flatten(1).sum(1), context)
