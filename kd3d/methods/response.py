"""Response distillation of head outputs, for centre heads and anchor heads."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from kd3d.core.card import MethodCard
from kd3d.core.context import Context
from kd3d.core.head_term import HeadTerm
from kd3d.core.registry import METHODS, TERMS
from kd3d.errors import UserError
from kd3d.losses.logit.head_response import (
    BOX_MAPS,
    anchor_response,
    anchor_rows,
    center_boxes,
    center_scores,
)
from kd3d.losses.logit.head_scores import anchors_per_cell

CARD = MethodCard(
    name="response",
    title="Y. Hong, H. Dai, Y. Ding: Cross-modality knowledge distillation network for monocular "
    "3D object detection (CMKD), its response loss",
    venue="ECCV 2022",
    paper="arXiv:2211.07171",
    idea="The student's class scores follow the teacher's soft scores, and its boxes follow the "
    "teacher's where the teacher is confident; no ground truth is needed.",
    equation="L = w_c QFL(s, t) / #{t > tau_c} + w_b sum_i m_i |b_s - b_t|_{smooth L1} / sum_i m_i",
    source=("logit",),
    routes=("lidar to camera",),
    schemes=("offline", "online", "self"),
    algorithm=(),
    needs=("head",),
    heads=("CenterHead", "Anchor3DHead"),
    status=("parity-tested", "trained-simulated"),
    differences=(
        "class losses are normalised over the batch; the authors sum them over the batch and "
        "divide box losses only",
        "confidence is the largest class score; the authors take the sum over classes",
        "the box loss is a score-weighted mean; the authors divide by the number of cells",
        "no confident cell gives 0; the authors' centre head gives NaN",
        "official_parity=True restores the authors' normalisers",
    ),
    zero_when_equal=False,
)


@METHODS.register_module()
def response(
    teacher: str = "teacher",
    scores: float | dict = 1.0,
    boxes: float = 0.25,
    directions: float = 0.1,
    confident: float | None = None,
    name: str = "response",
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the term of CMKD's response loss.

    Args:
        teacher: The teacher's name.
        scores: Weight (or schedule) of the whole term; `boxes` and `directions` are relative to it.
        boxes: Weight of the box part; 0 where the two heads have other grids.
        directions: Weight of the direction part (anchor heads).
        confident: Teacher score from which a cell counts; None: 0.1, the authors' centre head
            normalises by 0.3.
        name: The term's name.
        official_parity: The authors' normalisers and weights.
    """
    return [
        dict(
            type="ResponseTerm",
            name=name,
            student="student:head",
            teacher=f"{teacher}:head",
            weight=scores,
            boxes=boxes,
            directions=directions,
            confident=confident,
            official_parity=official_parity,
        )
    ]


@TERMS.register_module()
class ResponseTerm(HeadTerm):
    """Distance between the raw outputs of two heads of one kind; see `response`."""

    weighs_samples = False  # one normaliser serves the whole batch
    maps: tuple[str, ...] = BOX_MAPS

    def __init__(
        self,
        name: str,
        student: str,
        teacher: str,
        weight: float | dict = 1.0,
        boxes: float = 0.25,
        directions: float = 0.1,
        confident: float | None = None,
        official_parity: bool = False,
    ) -> None:
        super().__init__(name, student, teacher, weight)
        self.box_weight, self.directions, self.confident = boxes, directions, confident
        self.official = official_parity
        self.boxes = bool(boxes) or official_parity

    def distance(self, student: Any, teacher: Any, context: Context) -> Tensor:
        """Return scores + boxes * box part + directions * direction part."""
        if isinstance(student[0][0], dict):
            return self._center(student, teacher)
        return self._anchor(student, teacher)

    def _center(self, student: list[list[dict]], teacher: list[list[dict]]) -> Tensor:
        if len(student) != len(teacher):
            raise UserError(f"{len(student)} tasks against {len(teacher)}", f"term {self.name}")
        total = student[0][0]["heatmap"].new_zeros(())
        for index, ((ours,), (theirs,)) in enumerate(zip(student, teacher)):
            heat = self._aligned(ours["heatmap"], theirs["heatmap"])
            total = total + self._task(index, ours, theirs, heat)
        return total

    def _task(self, index: int, ours: dict, theirs: dict, heat: Tensor) -> Tensor:
        """Return a task's value; `heat` is the teacher's heat map on the student's cells."""
        if self.official:
            scores = center_scores(ours["heatmap"], heat, confident=0.3, clamp=1e-4)
            return scores + 4.0 * center_boxes(ours, theirs, sum_classes=True)
        low = 0.1 if self.confident is None else self.confident
        scores = center_scores(ours["heatmap"], heat, confident=low)
        if not self.boxes:
            return scores
        boxes = center_boxes(ours, theirs, confident=low, maps=self.maps)
        return scores + self.box_weight * boxes

    def _aligned(self, student: Tensor, teacher: Tensor) -> Tensor:
        if self.resample is not None:
            teacher = self.resampled(teacher)
        if student.shape != teacher.shape:
            raise UserError(
                f"heat maps {tuple(student.shape)} and {tuple(teacher.shape)}",
                f"term {self.name}",
                "both heads need the same classes in each task",
            )
        return teacher

    def _anchor(self, student: list, teacher: list) -> Tensor:
        total = student[0][0].new_zeros(())
        for level in range(len(student[0])):
            ours = self._rows(student, level)
            theirs = self._rows(teacher, level)
            if ours[0].shape != theirs[0].shape:
                raise UserError(
                    f"class maps {tuple(ours[0].shape)} and {tuple(theirs[0].shape)}",
                    f"term {self.name}",
                    "both heads need the same anchors and classes",
                )
            low = 0.1 if self.confident is None else self.confident
            parts = anchor_response(ours, theirs, low, official=self.official)
            weights = (2.0, 2.0, 0.4) if self.official else (1.0, self.box_weight, self.directions)
            total = total + sum(w * part for w, part in zip(weights, parts.values()))
        return total

    def _rows(self, output: list, level: int) -> tuple[Tensor, Tensor, Tensor | None]:
        scores, residuals, directions = output[0][level], output[1][level], output[2][level]
        anchors = anchors_per_cell(output, level)
        rows = anchor_rows(scores, scores.shape[1] // anchors)
        box = anchor_rows(residuals, residuals.shape[1] // anchors)
        return rows, box, None if directions is None else anchor_rows(directions, 2)
