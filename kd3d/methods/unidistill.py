"""UniDistill: features, relations and responses at sparse points of objects, any sensor to any."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kd3d.adapters import FeatureAdapter
from kd3d.adapters.objects import object_rows
from kd3d.core.card import MethodCard
from kd3d.core.context import Context
from kd3d.core.head_term import HeadTerm
from kd3d.core.key_point_term import KeyPointTerm
from kd3d.core.part_weights import part_weights
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.spec import FeatureSpec
from kd3d.errors import UserError, did_you_mean
from kd3d.losses import absolute_error
from kd3d.losses.feature.standardise import standardised
from kd3d.losses.logit.class_rows import box_rows
from kd3d.losses.logit.head_response import BOX_MAPS
from kd3d.losses.logit.head_scores import class_scores
from kd3d.losses.reduce import masked_mean
from kd3d.losses.similarity.affinity import affinity_difference
from kd3d.masks.boxes import gaussian_mask

CARD = MethodCard(
    name="unidistill",
    title="S. Zhou, W. Liu, C. Hu, S. Zhou, C. Ma: UniDistill: A universal cross-modality "
    "knowledge distillation framework for 3D object detection in bird's-eye view",
    venue="CVPR 2023",
    paper="arXiv:2303.15083",
    idea="Whatever the sensors, two detectors share a bird's-eye view: at nine points of every "
    "object (corners, middles of sides, centre) an early map is imitated and a late map's "
    "relations between the points are kept; near objects the head follows the response.",
    equation="L = a mean |s_op - t_op| + b mean |cos(s_op, s_oq) - cos(t_op, t_oq)| + c sum_i g_i "
    "(|max_k p_ik - max_k q_ik| + mean_d |r_id^S - r_id^T|) / sum_i g_i",
    source=("feature", "similarity", "logit"),
    routes=(
        "lidar to camera",
        "lidar+camera to camera",
        "camera to lidar",
        "lidar+camera to lidar",
    ),
    schemes=("offline", "online", "self"),
    algorithm=(),
    needs=("stage0", "bev", "head", "gt_boxes"),
    heads=("CenterHead", "Anchor3DHead"),
    status=("parity-tested",),
    differences=(
        "points are placed in metres in each model's own map; the authors' code swaps x and y, so "
        "that features and relations are compared at the mirror image of every object",
        "the early map is the first stage of the backbone; the authors' is the backbone's input, "
        "which in stock detectors is often an empty canvas (option early)",
        "features: the teacher is standardised per channel and the student projected; the authors "
        "compare raw maps of equal width",
        "one temperature for both models' scores; the authors soften the teacher's alone by 2",
        "objects outside the maps do not count; in the authors' code they do, as zeros, and a "
        "sample without objects counts one at the map's centre",
        "box maps of centre heads without velocity, unless velocity=True; anchor heads, which the "
        "authors have not: a cell has the scores of its best anchor, all anchors' boxes count",
        "weights 1, 1 and 1, not tuned; the authors' are those of ROUTES, of which official_parity "
        "takes the route's",
        "official_parity=True: all of the authors' forms",
    ),
    zero_when_equal=False,
)
ROUTES = {  # teacher to student: weights of feature, relation, response
    "lidar_to_camera": (100.0, 40.0, 10.0),
    "fusion_to_camera": (10.0, 5.0, 10.0),
    "camera_to_lidar": (10.0, 5.0, 1.0),
    "fusion_to_lidar": (10.0, 1.0, 10.0),
}
PARTS = ("feature", "relation", "response")


@METHODS.register_module()
def unidistill(
    teacher: str = "teacher",
    weights: dict[str, float | dict | None] | None = None,
    route: str = "lidar_to_camera",
    early: str = "stage0",
    late: str = "bev",
    velocity: bool = False,
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the terms of UniDistill.

    Args:
        teacher: The teacher's name.
        weights: Weights (or schedules) of ``feature``, ``relation``, ``response`` that differ from
            the usual ones; None leaves a term out.
        route: From which sensors to which, of ``ROUTES``: with `official_parity` it sets the usual
            weights.
        early: Tap of both models for the features.
        late: Tap of both models for the relations.
        velocity: Compare the velocity maps of centre heads, too.
        official_parity: The authors' forms and weights.
    """
    if route not in ROUTES:
        raise UserError(f"unknown route {route!r}", "unidistill", did_you_mean(route, ROUTES))
    usual = dict(zip(PARTS, ROUTES[route] if official_parity else (1.0, 1.0, 1.0)))
    kinds: dict[str, tuple[str, str, dict]] = {
        "feature": ("PointFeatureTerm", early, {}),
        "relation": ("PointRelationTerm", late, {}),
        "response": ("NearResponseTerm", "head", dict(velocity=velocity)),
    }
    return [
        dict(
            type=kinds[part][0],
            name=part,
            student=f"student:{kinds[part][1]}",
            teacher=f"{teacher}:{kinds[part][1]}",
            weight=weight,
            official_parity=official_parity,
            **kinds[part][2],
        )
        for part, weight in part_weights(usual, weights, "unidistill").items()
    ]


class NinePointTerm(KeyPointTerm):
    """What the terms on nine points share: the authors' way of reading a map."""

    def read(self, feature: Tensor, places: list[Tensor], spec: FeatureSpec) -> Tensor:
        """Return features (N, 9, C); the published form swaps x and y, and reads zeros outside."""
        if not self.official:
            return super().read(feature, places, spec)
        flat = [place.flatten(0, 1) for place in places]
        rows = object_rows(feature.transpose(2, 3), flat, spec.grid[0], "zeros")
        return rows.reshape(-1, self.points**2, feature.shape[1])

    def boxes(self, student: Tensor, context: Context) -> list[Tensor]:
        """Return the boxes; in the published form an empty sample has one at the origin."""
        boxes = super().boxes(student, context)
        if not self.official:
            return boxes
        return [one if len(one) else student.new_zeros(1, 7) for one in boxes]


@TERMS.register_module()
class PointFeatureTerm(NinePointTerm):
    """Imitation at nine points of every object; see `unidistill`."""

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Make the projection."""
        super().build(student, teacher)
        projection = "auto" if self.official else "always"
        where = f"term {self.name}"
        self.adapter = FeatureAdapter(student, teacher, where, projection=projection)

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return the mean over objects, points and channels."""
        teacher = teacher if self.official else standardised(teacher)
        ours, theirs = self.key_points(student, teacher, context)
        value = absolute_error(
            self.adapter.rows(ours.flatten(0, 1))[None], theirs.flatten(0, 1)[None]
        )
        return self.relations_mean(value, student)


@TERMS.register_module()
class PointRelationTerm(NinePointTerm):
    """Cosines between the nine points of every object; see `unidistill`."""

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return the mean over objects and pairs of points."""
        ours, theirs = (rows.transpose(1, 2) for rows in self.key_points(student, teacher, context))
        if self.official:  # their length of a vector is never 0
            ours, theirs = (f / (f.norm(dim=1, keepdim=True) + 1e-4) for f in (ours, theirs))
        value = affinity_difference(ours, theirs, cosine=not self.official)
        return self.relations_mean(value, student)


@TERMS.register_module()
class NearResponseTerm(HeadTerm):
    """The response near objects, whatever their class; see `unidistill`."""

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict = 1.0,
        velocity: bool = False,
        temperature: float = 1.0,
        official_parity: bool = False,
    ) -> None:
        super().__init__(name, student, teacher, weight)
        self.boxes, self.official = True, official_parity
        self.temperature, self.velocity = temperature, velocity

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Choose the box maps that are compared."""
        super().build(student, teacher)
        found = [name for name, _ in student.maps[0] if name != "heatmap"] if student.maps else []
        usual = [*BOX_MAPS, "vel"] if self.velocity else list(BOX_MAPS)
        self.names = found if self.official else usual

    def reads(self) -> dict[str, Any] | None:
        """Return the maps of a centre head that are compared."""
        return {"maps": ["heatmap", *self.names]} if self.layout == "center_head" else None

    def distance(self, student: Any, teacher: Any, context: Context) -> Tensor:
        """Return the mean difference of scores and that of boxes under the objects' Gaussians."""
        like = student[0][0]["heatmap"] if self.layout == "center_head" else student[0][0]
        boxes = [box.to(like.device) for box in context.boxes]
        near = gaussian_mask(boxes, *self.spec.grid, min_overlap=0.7, min_radius=0)
        softened = 2.0 if self.official else self.temperature
        p = self._scores(student, 1.0 if self.official else softened)
        q = self._scores(teacher, softened)
        boxes_apart = self._boxes(student) - self._boxes(teacher)
        value = (p - q).abs()[:, 0] + boxes_apart.abs().mean(1)
        of_sample = self.sample_weight(context)
        if of_sample is not None:
            value = value * of_sample.view(-1, 1, 1)
        return masked_mean(value, near)

    def _scores(self, head: Any, temperature: float) -> Tensor:
        """Return the (B, 1, H, W) highest class probability of each cell."""
        if temperature != 1.0:
            head = _divided(head, self.layout, temperature)
        scores = class_scores(head, self.layout).amax(1, keepdim=True)
        return scores.clamp(1e-4, 1 - 1e-4) if self.official else scores

    def _boxes(self, head: Any) -> Tensor:
        """Return the (B, D, H, W) box maps of all tasks or anchors."""
        if self.layout == "center_head":
            return torch.cat([task[0][name] for task in head for name in self.names], 1)
        rows = box_rows(head, self.layout)  # (B, H W A, D)
        height, width = self.spec.grid[1]
        return rows.reshape(len(rows), height, width, -1).permute(0, 3, 1, 2)


def _divided(head: Any, layout: str, temperature: float) -> Any:
    """Return a head's class logits, divided; all that `class_scores` reads."""
    if layout == "center_head":
        return [[{"heatmap": task[0]["heatmap"] / temperature}] for task in head]
    return [[level / temperature for level in head[0]], *head[1:]]
