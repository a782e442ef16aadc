"""Whether a teacher's class scores fit the ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kd3d.core.context import Context
from kd3d.core.probe import bev_grid, classes_of
from kd3d.core.spec import describe
from kd3d.core.taps import head_of
from kd3d.losses.logit.head_scores import class_scores
from kd3d.masks.boxes import centre_cells


@dataclass
class Agreement:
    """How a teacher's class scores fit the ground truth of one batch.

    Attributes:
        boxes: Ground-truth boxes on the teacher's map.
        right: Share of them whose own class has the highest score in the 3x3 cells around the
            centre, and a confident one.
        any_class: Share with a confident score of any class there.
        elsewhere: Share of all cells with a confident score.
    """

    boxes: int
    right: float
    any_class: float
    elsewhere: float

    def figures(self) -> dict[str, float]:
        """Return log name -> value."""
        return {
            "agreement": self.right,
            "agreement_any_class": self.any_class,
            "elsewhere": self.elsewhere,
        }


def agree(
    model: Any, head: Any, context: Context, score: float, names: Sequence[str] = ()
) -> Agreement | None:
    """Compare a teacher's raw head output with the ground truth.

    Args:
        model: The teacher's detector.
        head: CenterHead's or Anchor3DHead's raw output.
        context: The batch.
        score: Confident from here.
        names: Class names in the order of the labels, to find those of a centre head that has
            another order; empty: the head's classes are in the order of the labels.

    Returns:
        None where the output is no bird's-eye-view head's, or no box lies on its map.
    """
    spec = describe(head, bev_grid(model))
    if not spec.layout.endswith("_head") or spec.extent_m is None or spec.shape is None:
        return None
    scores = _in_label_order(class_scores(head, spec.layout), model, names)
    near = F.max_pool2d(scores, 3, stride=1, padding=1)
    found = []
    for i, (boxes, labels) in enumerate(zip(context.boxes, context.labels)):
        row, column, inside = centre_cells(boxes.to(scores.device), spec.extent_m, spec.shape)
        labels = labels.to(scores.device)
        inside &= (labels >= 0) & (labels < scores.shape[1])
        row, column, labels = row[inside], column[inside], labels[inside]
        at = near[i, :, row, column]  # (K, N)
        best, named = at.max(0)
        found.append(torch.stack([(best > score) & (named == labels), best > score]))
    hits = torch.cat(found, 1).float()  # (2, N)
    if not hits.shape[1]:
        return None
    right, any_class = hits.mean(1).tolist()
    elsewhere = (scores.amax(1) > score).float().mean().item()
    return Agreement(hits.shape[1], right, any_class, elsewhere)


def _in_label_order(scores: Tensor, model: Any, names: Sequence[str]) -> Tensor:
    """Return scores (B, K, H, W) class by class as in `names`; 0 for a class the head lacks."""
    own = [name for task in classes_of(head_of(model)) for name in task]
    if not names or not own or own == list(names):
        return scores
    absent = torch.zeros_like(scores[:, 0])
    return torch.stack([scores[:, own.index(n)] if n in own else absent for n in names], 1)
