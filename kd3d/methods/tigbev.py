"""TiG-BEV: the inner structure of objects, over key points, channels and depths."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kd3d.adapters import FeatureAdapter
from kd3d.adapters.objects import object_rows
from kd3d.core.card import MethodCard
from kd3d.core.context import DEPTHS, OBJECTS, Context
from kd3d.core.key_point_term import KeyPointTerm
from kd3d.core.part_weights import part_weights
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.spec import FeatureSpec
from kd3d.core.term import Term
from kd3d.errors import UserError
from kd3d.losses.depth.inner_depth import expected_depth, inner_depth_error
from kd3d.losses.reduce import masked_mean
from kd3d.losses.similarity.relations import similarity_preserving

CARD = MethodCard(
    name="tigbev",
    title="P. Huang, L. Liu, R. Zhang, S. Zhang, X. Xu, B. Wang, G. Liu: TiG-BEV: Multi-view BEV "
    "3D object detection via target inner-geometry learning",
    venue="arXiv 2022",
    paper="arXiv:2212.13979",
    idea="Features are not imitated, but how the points in and around an object resemble each "
    "other, and how its channels do; a camera's depths are compared relative to one cell of the "
    "object.",
    equation="L = a mean_{o,p} sum_q (A^S_pq - A^T_pq)^2 + b mean_{o,c} sum_d (G^S_cd - G^T_cd)^2, "
    "A = X^T X, G = X X^T, rows of length 1 [+ c mean_{o,i} ((z_oi - z_or) - (d_oi - d_or))^2]",
    source=("similarity",),
    routes=("lidar to camera",),
    schemes=("offline", "online", "self"),
    algorithm=(),
    needs=("bev", "gt_boxes"),
    status=("parity-tested",),
    differences=(
        "key points are placed in metres; the authors' are stretched by W / (W - 1) and those "
        "outside the map are moved to its border. Objects outside the maps do not count",
        "12 x 12 points an object and weights 1 and 1, not tuned; the authors' are 24 x 24, 100 "
        "and 10",
        "the student is always projected for the relations of channels, as in the authors' code",
        "the inner depth is off unless depth is given: a camera student with the tap depth, and "
        "DepthMaps(objects=True) in the pipeline. Bins stand for their middles, as they are "
        "lifted, and measured depths outside the bins do not count; the authors' for their near "
        "ends",
        "a batch without objects gives 0; the authors' code stops there",
        "official_parity=True: the authors' points and weights",
    ),
    zero_when_equal=False,
)
PARTS = ("points", "channels")


@METHODS.register_module()
def tigbev(
    teacher: str = "teacher",
    weights: dict[str, float | dict | None] | None = None,
    tap: str = "bev",
    points: int | None = None,
    grow_m: float = 1.6,
    depth: float | dict | None = None,
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the terms of TiG-BEV.

    Args:
        teacher: The teacher's name.
        weights: Weights (or schedules) of ``points`` and ``channels`` that differ from the usual
            ones; None leaves a term out.
        tap: Of both models.
        points: Along each side of an object; None: 12, published 24.
        grow_m: Metres added on every side of an object.
        depth: Weight (or schedule) of the inner depth of a student with the tap ``depth``
            (published 1); None: none. Its target is measured, no teacher's.
        official_parity: The authors' points and weights.
    """
    usual = dict(zip(PARTS, (100.0, 10.0) if official_parity else (1.0, 1.0)))
    inner = dict(
        type="InnerDepthTerm",
        name="depth",
        student="student:depth",
        teacher="student:depth",
        weight=depth,
        official_parity=official_parity,
    )
    features: list[dict[str, Any]] = [
        dict(
            type="InnerStructureTerm",
            name=part,
            student=f"student:{tap}",
            teacher=f"{teacher}:{tap}",
            weight=weight,
            between=part,
            points=points or (24 if official_parity else 12),
            grow_m=grow_m,
            official_parity=official_parity,
        )
        for part, weight in part_weights(usual, weights, "tigbev").items()
    ]
    return features if depth is None else [*features, inner]


@TERMS.register_module()
class InnerStructureTerm(KeyPointTerm):
    """Resemblances within every object, between points or channels; see `tigbev`."""

    def __init__(self, *sides: Any, between: str = "points", **options: Any) -> None:
        super().__init__(*sides, **{"objects": 64} | options)
        if between not in PARTS:
            raise UserError(f"unknown {between!r}", f"term {self.name}", " or ".join(PARTS))
        self.between = between

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Make the projection, where channels are compared."""
        super().build(student, teacher)
        if self.between == "channels":
            where = f"term {self.name}"
            self.adapter = FeatureAdapter(student, teacher, where, projection="always")

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return the mean over objects and points or channels of the sum over all others."""
        ours, theirs = self.key_points(student, teacher, context)  # (N, P * P, C)
        if self.between == "channels":
            ours = self.adapter.rows(ours.flatten(0, 1)).view(*ours.shape[:2], theirs.shape[2])
            ours, theirs = ours.transpose(1, 2), theirs.transpose(1, 2)
        return self.relations_mean(similarity_preserving(ours, theirs).sum(2), student)

    def read(self, feature: Tensor, places: list[Tensor], spec: FeatureSpec) -> Tensor:
        """Return a map's features (N, P * P, C); see the card for the published places."""
        if not self.official:
            return super().read(feature, places, spec)
        extent, (height, width) = spec.grid
        low, high = feature.new_tensor(extent[:2]), feature.new_tensor(extent[2:])
        size = feature.new_tensor([width, height])
        flat = [low + (p.flatten(0, 1) - low) * size / (size - 1) for p in places]
        flat = [place.clamp(low, high) for place in flat]
        rows = object_rows(feature, flat, extent, "zeros")
        return rows.reshape(-1, self.points**2, feature.shape[1])


@TERMS.register_module()
class InnerDepthTerm(Term):
    """Measured depths within every object, relative to one of its cells; see `tigbev`.

    Args:
        *sides: See `Term`; both taps are the student's logits of the depth (B N, D, H, W).
        official_parity: Bins stand for their near ends instead of their middles.
        **options: See `Term`.
    """

    alone = True
    bins: Tensor

    def __init__(self, *sides: Any, official_parity: bool = False, **options: Any) -> None:
        super().__init__(*sides, **options)
        self.official = official_parity

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Ask the student what depths its bins stand for."""
        view = getattr(self.learner(), "view_transform", None)
        if student.layout != "image" or view is None or view.bins.count != student.channels:
            raise UserError(
                f"the student has {student}, which is no distribution over a lift's bins",
                f"term {self.name}",
                "a student such as BEVDet, tap depth",
            )
        self.known = view.bins
        self.register_buffer("bins", view.bins.values(self.official), persistent=False)

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return the mean over the cells of objects with a measured depth in metres^2.

        Raises:
            UserError: The batch has no maps of depths and objects, or of other cells.
        """
        for key in (DEPTHS, OBJECTS):
            if key not in context.cell_maps:
                fix = "dict(type='DepthMaps', objects=True, ...) in the training pipeline"
                raise UserError(f"the samples have no {key}", f"term {self.name}", fix)
        depth, objects = (
            torch.cat(context.cell_maps[key]).to(student.device) for key in (DEPTHS, OBJECTS)
        )
        if depth.shape != (len(student), *student.shape[2:]):
            raise UserError(
                f"depth maps {tuple(depth.shape)} for features {tuple(student.shape)}",
                f"term {self.name}",
                "give DepthMaps the stride of the features",
            )
        measured = torch.where(self.known.index(depth) >= 0, depth, 0.0)
        error = inner_depth_error(expected_depth(student, self.bins), measured, objects)
        return masked_mean(error[None])
