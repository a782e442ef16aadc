"""SparseKD: scores at pivotal positions, the teacher's boxes as labels, features of objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from kd3d.core.card import MethodCard
from kd3d.core.context import Context
from kd3d.core.foreground_term import ForegroundTerm, check_foreground
from kd3d.core.head_term import HeadTerm
from kd3d.core.region_term import RegionTerm
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.spec import FeatureSpec
from kd3d.errors import UserError, did_you_mean
from kd3d.losses.box.residual import residual_smooth_l1
from kd3d.losses.logit.class_rows import box_rows, class_rows, row_targets
from kd3d.losses.logit.head_response import BOX_MAPS
from kd3d.losses.logit.pivotal import score_error
from kd3d.losses.reduce import masked_mean
from kd3d.masks.boxes import centre_cells
from kd3d.masks.pivotal import pivotal_positions

CARD = MethodCard(
    name="sparsekd",
    title="J. Yang, S. Shi, R. Ding, Z. Wang, X. Qi: Towards efficient 3D object detection with "
    "knowledge distillation (SparseKD), without teacher-guided initialisation",
    venue="NeurIPS 2022",
    paper="https://openreview.net/forum?id=1tnVNogPUz9",
    idea="Scores are imitated at the few positions where objects are and the teacher is sure, "
    "boxes at the objects; confident boxes of the teacher are trained on like ground truth.",
    equation="L = w sum_i c_i g_i sum_k (p_ik - q_ik)^2 / sum_i c_i g_i + v sum_o |r_o^S - r_o^T| "
    "/ #objects, c = max_k q_k, g: Gaussians of the ground truth",
    source=("logit", "feature", "similarity"),
    routes=("lidar to lidar",),
    schemes=("offline", "self"),
    algorithm=(),
    needs=("head", "boxes", "gt_boxes"),
    same=("head", "anchor_grid"),
    heads=("CenterHead", "Anchor3DHead"),
    status=("parity-tested",),
    differences=(
        "a teacher's box that overlaps one of the ground truth is no second label; the authors "
        "keep both, the teacher's first, and give one cell two boxes to regress",
        "the teacher's own suppression decides which boxes it offers; the authors do without "
        "(test_cfg of the teacher)",
        "boxes of heads with other grids are compared in metres; the authors leave them out",
        "points in objects are placed in metres; the authors' are stretched by W / (W - 1) from "
        "the map's corner, and read zeros outside the map",
        "objects outside the map do not count; the authors move them to its border",
        "anchor heads, which the authors have not: a row is an anchor, boxes are those of the "
        "object's class at its centre",
        "relations of objects (gid) are normalised by the mean over pairs of two",
        "the loss between second stages (kd3d.losses.logit.pivotal.roi_response) has no term: two "
        "detectors with a second stage look at other regions",
        "official_parity=True: the authors' labels, border, points, and no boxes across grids",
    ),
)
FEATURES = {mode: term.__name__ for term in (ForegroundTerm, RegionTerm) for mode in term.MODES}


@METHODS.register_module()
def sparsekd(
    teacher: str = "teacher",
    scores: float | dict = 10.0,
    boxes: float = 0.02,
    labels: bool | dict[str, Any] = True,
    features: Sequence[str] = (),
    feature_weight: float | dict = 0.1,
    tap: str = "bev",
    name: str = "pivotal",
    official_parity: bool = False,
    **options: Any,
) -> list[dict[str, Any]]:
    """Return the terms and the label source of SparseKD.

    Args:
        teacher: The teacher's name.
        scores: Weight (or schedule) of the logit term.
        boxes: Weight of its box part, relative to it; the authors' 0.2 / 10 (voxels), 0 (pillars).
        labels: Whether the teacher's boxes join the ground truth, or the options of
            `kd3d.core.labels.TeacherLabels` that are not the usual ones.
        features: Which feature losses, of ``raw``, ``spatial``, ``rois``, ``gid``, ``aff``; the
            authors' configs use none. See `kd3d.core.foreground_term` and `kd3d.core.region_term`.
        feature_weight: Weight of each.
        tap: The map that they read.
        name: The logit term's name.
        official_parity: See the card.
        **options: Of `PivotalTerm`.
    """
    made = [
        dict(
            type="PivotalTerm",
            name=name,
            student="student:head",
            teacher=f"{teacher}:head",
            weight=scores,
            box_weight=boxes,
            official_parity=official_parity,
            **options,
        )
    ]
    for mode in features:
        if mode not in FEATURES:
            raise UserError(
                f"unknown feature loss {mode!r}", "sparsekd", did_you_mean(mode, FEATURES)
            )
        made.append(
            dict(
                type=FEATURES[mode],
                name=f"{tap}_{mode}",
                student=f"student:{tap}",
                teacher=f"{teacher}:{tap}",
                weight=feature_weight,
                mode=mode,
                official_parity=official_parity,
            )
        )
    if labels:
        usual = dict(duplicate=None, first="teacher") if official_parity else {}
        own = labels if isinstance(labels, dict) else {}
        made.append(dict(type="TeacherLabels", teacher=teacher) | usual | own)
    return made


@TERMS.register_module()
class PivotalTerm(HeadTerm):
    """Scores at pivotal positions and boxes at objects; see `sparsekd`.

    Maps of centre heads with other grids are compared on the teacher's cells, as in the paper.

    Args:
        name: See `kd3d.core.term.Term`.
        student: See `kd3d.core.term.Term`.
        teacher: See `kd3d.core.term.Term`.
        weight: See `kd3d.core.term.Term`.
        box_weight: Weight of the box part.
        foreground: ``soft``: rows count by the Gaussians of the objects; ``hard``: alike where a
            Gaussian reaches; None: everywhere, for frames without ground truth.
        threshold: Teacher score above which a row is pivotal.
        soft: Rows count by the teacher's score.
        rank: Only so many rows of a sample, the teacher's surest; None: all.
        smooth: Smooth L1 of scores instead of the square.
        official_parity: See the card.
    """

    on_teacher = True

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict = 10.0,
        box_weight: float = 0.02,
        foreground: str | None = "soft",
        threshold: float = 0.0,
        soft: bool = True,
        rank: int | None = None,
        smooth: bool = False,
        official_parity: bool = False,
    ) -> None:
        super().__init__(name, student, teacher, weight)
        check_foreground(foreground, name)
        self.boxes, self.foreground, self.smooth = box_weight, foreground, smooth
        self.threshold, self.soft, self.rank = threshold, soft, rank
        self.official = self.border = official_parity

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Refuse heads that do not fit; remember both grids."""
        super().build(student, teacher)
        self.specs = (student, teacher)
        if self.resample is not None and self.official:
            self.boxes = 0.0

    def distance(self, student: Any, teacher: Any, context: Context) -> Tensor:
        """Return the mean over the head's tasks of scores + box_weight * boxes."""
        ours, theirs = _tasks(student, self.layout), _tasks(teacher, self.layout)
        if len(ours) != len(theirs):
            raise UserError(f"{len(ours)} tasks against {len(theirs)}", f"term {self.name}")
        sure = [class_rows(task, self.layout).sigmoid() for task in theirs]
        maps, first, parts = None, 0, []
        if self.foreground is not None:
            maps = self._class_maps(sum(q.shape[2] for q in sure), sure[0].device, context)
        for s, t, q in zip(ours, theirs, sure):
            classes = slice(first, first + q.shape[2])
            share = self.sample_weight(context)
            share = q.new_ones(len(q)) if share is None else share
            parts.append(self._scores(s, q, None if maps is None else maps[:, classes], share))
            if self.boxes:
                objects = self._objects(context, classes, q.device)
                at = self._at_anchors if self.layout == "anchor_head" else self._at_centres
                parts.append(self.boxes * at(s, t, objects, share))
            first = classes.stop
        return torch.stack(parts).sum() / len(ours)

    def _scores(self, student: Any, q: Tensor, maps: Tensor | None, share: Tensor) -> Tensor:
        """Return the mean error of a task's probabilities under the weights of its rows."""
        p, weight = class_rows(student, self.layout).sigmoid(), None
        if self.official:
            p = p.clamp(1e-4, 1 - 1e-4)
        if self.resample is not None:
            shape = student[0][0]["heatmap"].shape
            p = self.resample(p.transpose(1, 2).reshape(shape)).flatten(2).transpose(1, 2)
            weight = self.resample.valid.flatten(1)
        if p.shape != q.shape:
            raise UserError(
                f"class rows {tuple(p.shape)} and {tuple(q.shape)}",
                f"term {self.name}",
                "both heads need the same classes in each task, and the same anchors",
            )
        if maps is not None:
            near = maps.amax(1).flatten(1)
            near = (near > 0).to(near) if self.foreground == "hard" else near
            near = near.repeat_interleave(q.shape[1] // near.shape[1], 1)  # anchors of a cell
            weight = near if weight is None else near * weight
        weight = pivotal_positions(q, weight, self.threshold, self.soft, self.rank)
        return masked_mean(score_error(p, q, self.smooth) * share[:, None], weight)

    def _objects(self, context: Context, classes: slice, device: torch.device) -> Tensor:
        """Return (N, 6) int64: sample, class in the task, row and column in both models' maps."""
        found = []
        for i, (boxes, labels) in enumerate(zip(context.boxes, context.labels)):
            boxes, labels = boxes.to(device), labels.to(device)
            keep = (labels >= classes.start) & (labels < classes.stop)
            places = [torch.full_like(labels, i), labels - classes.start]
            for spec in self.specs:
                *cell, inside = centre_cells(boxes, *spec.grid, self.border)
                places, keep = places + cell, keep & inside
            found.append(torch.stack(places, 1)[keep])
        return torch.cat(found)

    def _at_centres(self, student: Any, teacher: Any, objects: Tensor, share: Tensor) -> Tensor:
        """Return the mean over objects of a centre head's box codes, offsets in teacher's cells."""
        sample, _, *cells = objects.unbind(1)
        codes = [
            torch.cat([task[0][key] for key in BOX_MAPS], 1)[sample, :, row, column]  # (N, 8)
            for (task,), row, column in zip((student, teacher), cells[::2], cells[1::2])
        ]
        (cell_s, low_s), (cell_t, low_t) = (
            (codes[0].new_tensor(spec.cell_m), codes[0].new_tensor(spec.grid[0][:2]))
            for spec in self.specs
        )
        corner = [torch.stack([column, row], 1) for row, column in zip(cells[::2], cells[1::2])]
        ratio = cell_s / cell_t
        apart = corner[0] * ratio + (low_s - low_t) / cell_t - corner[1]  # 0 in equal grids
        place = codes[0][:, :2] * ratio + apart
        value = (torch.cat([place, codes[0][:, 2:]], 1) - codes[1]).abs().sum(1)
        return masked_mean((value * share[sample])[None])

    def _at_anchors(self, student: Any, teacher: Any, objects: Tensor, share: Tensor) -> Tensor:
        """Return the mean over anchors of the objects' classes at their centres."""
        ours, theirs = box_rows(student, self.layout), box_rows(teacher, self.layout)
        sample, label, row, column = objects.unbind(1)[:4]
        kinds = class_rows(teacher, self.layout).shape[2]
        centres = ours.new_zeros(len(ours), kinds, *self.spec.grid[1])
        centres[sample, label, row, column] = 1.0
        chosen = row_targets(centres, ours.shape[1], 0.5) < kinds
        value = residual_smooth_l1(ours[chosen], theirs[chosen], beta=0.0)  # L1
        return masked_mean((value * share[chosen.nonzero()[:, 0]])[None])


def _tasks(head: Any, layout: str) -> list[Any]:
    """Return the tasks of a centre head, each as a head of its own; an anchor head is one."""
    return [[task] for task in head] if layout == "center_head" else [head]
