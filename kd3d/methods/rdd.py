"""RDD (a reconstruction): where teacher and student disagree most, they are made alike."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kd3d.adapters import FeatureAdapter
from kd3d.core.card import MethodCard
from kd3d.core.context import Context
from kd3d.core.head_term import HeadTerm
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.spec import FeatureSpec
from kd3d.core.term import beside
from kd3d.errors import UserError
from kd3d.losses.feature.distance import squared_error
from kd3d.losses.feature.standardise import channel_moments, pooled_moments
from kd3d.losses.logit.disparity import head_disparity
from kd3d.losses.reduce import masked_mean
from kd3d.masks.regions import balanced_gaussians, distinct

CARD = MethodCard(
    name="rdd",
    title="Y. Li, S. Xu, M. Lin, J. Yin, B. Zhang, X. Cao: Representation disparity-aware "
    "distillation for 3D object detection",
    venue="ICCV 2023",
    paper="arXiv:2308.10308",
    idea="Of the boxes that teacher or student propose, those where the two models differ most are "
    "distilled, features and predictions, each with the same weight whatever its size.",
    equation="L = (1/N) sum_n sum_i M_ni [w_f |(phi(s_i) - t_i) / sigma_t|^2 / C + KL(p^T_i || "
    "p^S_i) + p^T_i |b^S_i - b^T_i|_{smooth L1}], n: the N regions of largest disparity",
    source=("feature", "logit"),
    routes=("lidar to lidar",),
    schemes=("offline", "online", "self"),
    algorithm=("attention",),
    needs=("head", "bev", "proposals", "gt_boxes"),
    heads=("CenterHead", "Anchor3DHead"),
    status=("reconstruction", "formula-tested"),
    differences=(
        "a reconstruction from the paper's description: no code was released, and no number of the "
        "paper was reproduced",
        "the disparity is the divergence of class scores plus the teacher's score times the "
        "difference of boxes; N is the number of a sample's objects, at least 4",
        "a divergence in the place of the cross-entropy: same gradient, 0 where both agree",
        "features are divided by the spread of the teacher's channels; official_parity=True leaves "
        "them as they are",
    ),
)


@METHODS.register_module()
def rdd(
    teacher: str = "teacher",
    weight: float | dict = 1.0,
    features: float = 1.0,
    tap: str = "bev",
    regions: float = 1.0,
    fewest: int = 4,
    overlap: float = 0.5,
    spread: float = 0.25,
    name: str = "disparity",
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the term of the reconstruction of RDD.

    Args:
        teacher: The teacher's name.
        weight: Number or schedule of the whole term.
        features: Weight of the feature part, relative to the predictions'.
        tap: The map of both models.
        regions: Regions an object of the sample's ground truth.
        fewest: Regions a sample has at least, as far as there are proposals.
        overlap: See `kd3d.masks.regions.distinct`.
        spread: See `kd3d.masks.regions.balanced_gaussians`.
        name: The term's name.
        official_parity: Features as they are; there is no code of the authors to be equal to.
    """
    return [
        dict(
            type="DisparityTerm",
            name=name,
            student="student:head",
            teacher=f"{teacher}:head",
            weight=weight,
            features=features,
            tap=tap,
            regions=regions,
            fewest=fewest,
            overlap=overlap,
            spread=spread,
            scaled=not official_parity,
        )
    ]


@TERMS.register_module()
class DisparityTerm(HeadTerm):
    """Features and predictions in the regions of largest disparity; see `rdd`."""

    boxes = True
    weighs_samples = False

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict = 1.0,
        features: float = 1.0,
        tap: str = "bev",
        regions: float = 1.0,
        fewest: int = 4,
        overlap: float = 0.5,
        spread: float = 0.25,
        scaled: bool = True,
    ) -> None:
        super().__init__(name, student, teacher, weight)
        self.features, self.regions, self.fewest = features, regions, fewest
        self.overlap, self.spread, self.scaled = overlap, spread, scaled
        self.maps = self._both(tap)
        self.found = self._both("proposals")

    def _both(self, tap: str) -> tuple[str, str]:
        return (
            f"{self.student_branch}:{beside(self.student_tap, tap)}",
            f"{self.teacher_branch}:{beside(self.teacher_tap, tap)}",
        )

    def further(self) -> tuple[str, ...]:
        """Both maps, and both models' proposals."""
        return (*self.maps, *self.found)

    def reads(self) -> dict[str, Any] | None:
        """All maps of the head: its boxes are decoded from them."""
        return None

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Make the adapter between the two maps."""
        super().build(student, teacher)
        ours, theirs = (self.further_specs[address] for address in self.maps)
        where = f"term {self.name}"
        for spec in (student, ours):
            if not spec.is_bev:
                raise UserError(f"regions need a BEV grid, the student has {spec}", where)
        self.map_spec = ours
        self.adapter = FeatureAdapter(ours, theirs, where=where)

    def distance(self, student: Any, teacher: Any, context: Context) -> Tensor:
        """Return the predictions' part + features * the features' part."""
        smooth = head_disparity(student, teacher, self.layout, _smooth_l1)
        chosen = self.select(student, teacher, context)
        predictions = masked_mean(smooth, self._weights(chosen, self.spec))
        ours, theirs = (context.taps[address] for address in self.maps)
        theirs, valid = self.adapter.teacher(theirs)
        ours = self.adapter(ours)
        if self.scaled:
            moments = pooled_moments(channel_moments(theirs), theirs[0, 0].numel())
            scale = (moments[1] + 1e-5).rsqrt().to(ours.dtype).view(1, -1, 1, 1)
            ours, theirs = ours * scale, theirs * scale
        weights = self._weights(chosen, self.map_spec)
        if valid is not None:
            weights = weights * valid
        return predictions + self.features * masked_mean(squared_error(ours, theirs), weights)

    @torch.no_grad()
    def select(self, student: Any, teacher: Any, context: Context) -> list[Tensor]:
        """Return each sample's regions, (N, 7) boxes that teacher or student proposed."""
        disparity = head_disparity(student, teacher, self.layout, _l1)  # (B, H, W)
        chosen = []
        for i, truth in enumerate(context.boxes):
            both = [context.taps[address][i]["boxes"][:, :7] for address in self.found]
            boxes = torch.cat(both).to(disparity.device)
            masks = self._gaussians(boxes, self.spec)
            score = (masks * disparity[i]).sum((1, 2))
            most = max(self.fewest, round(self.regions * len(truth)))
            chosen.append(boxes[distinct(masks, score, most, self.overlap)])
        return chosen

    def _gaussians(self, boxes: Tensor, spec: FeatureSpec) -> Tensor:
        return balanced_gaussians(boxes, *spec.grid, self.spread)

    def _weights(self, chosen: list[Tensor], spec: FeatureSpec) -> Tensor:
        """Return (B, 1, H, W) weights that sum to the number of regions."""
        return torch.stack([self._gaussians(boxes, spec).sum(0) for boxes in chosen])[:, None]


def _l1(student: Tensor, teacher: Tensor) -> Tensor:
    return (student - teacher).abs()


def _smooth_l1(student: Tensor, teacher: Tensor) -> Tensor:
    return F.smooth_l1_loss(student, teacher, reduction="none")
