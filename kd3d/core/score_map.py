"""How sure a model's head is of an object in each cell of a map."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from kd3d.adapters import MetricResample
from kd3d.core.head_term import LAYOUTS
from kd3d.core.sentences import detached
from kd3d.core.spec import FeatureSpec
from kd3d.errors import UserError
from kd3d.losses.logit.head_scores import class_scores


class ScoreMap(nn.Module):
    """The highest class score of a head, as a constant, on the cells of a map.

    Args:
        head: Spec of the raw head output.
        target: Spec of the map.
        where: For messages.

    Raises:
        UserError: It is no head, or has no place in metres on another grid.
    """

    def __init__(self, head: FeatureSpec, target: FeatureSpec, where: str) -> None:
        super().__init__()
        if head.layout not in LAYOUTS:
            raise UserError(f"the head gives {head}", where, "a centre head or an anchor head")
        self.layout = head.layout
        self.resample = None if head.same_grid(target) else MetricResample(head, target, where)

    def forward(self, output: Any) -> Tensor:
        """Return (B, 1, H, W) in 0..1; 0 where the head does not reach."""
        scores = class_scores(detached(output), self.layout).amax(1, keepdim=True)
        return scores if self.resample is None else self.resample(scores)
