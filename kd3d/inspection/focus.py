"""Where the terms of a step pull at the student."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from kd3d.core.branches import copied
from kd3d.core.context import Context
from kd3d.core.gradients import TermStep, gradients, tensors


class Focus:
    """A monitor of one step: each term's gradient on the value that it taps of the student.

    Whatever a method's mask, its weights of cells or its sampling are, this is where they let it
    act: a cell that the method leaves out has no gradient.

    Attributes:
        maps: Term name -> (B, H, W) norms over the channels of d (weight x loss) / d tap, of the
            tap's maps of one size together; a tap that is no map is left out.
        boxes: (B,) list of the sample's boxes (M, >=7) in the augmented LiDAR frame.
    """

    def __init__(self) -> None:
        self.maps: dict[str, Tensor] = {}
        self.boxes: list[Tensor] = []

    def __call__(
        self,
        distiller: Any,
        tasks: dict[str, Tensor],
        steps: dict[str, TermStep],
        context: Context,
    ) -> None:
        """Take the gradients of one step; called by the distiller."""
        self.boxes = [boxes.detach().cpu() for boxes in context.boxes]
        for name, step in steps.items():
            taps = [value for value in tensors(step.student) if value.requires_grad]
            found = gradients(step.value * step.weight, taps)
            squares = [
                grad.square().sum(1) for grad in found if grad is not None and grad.dim() == 4
            ]
            same = [one for one in squares if one.shape == squares[0].shape]
            if same:
                self.maps[name] = torch.stack(same).sum(0).sqrt().cpu()


def focus(distiller: Any, raw: dict[str, Any]) -> Focus:
    """Return where the terms of one step on a raw batch pull; nothing is trained.

    Args:
        distiller: Of `kd3d.inspection.trial.build_distiller`.
        raw: A collated batch; not changed.
    """
    distiller.train()
    prepared = distiller.data_preprocessor(copy.deepcopy(raw), True)
    found = Focus()
    distiller.monitor = found
    try:
        for turn in distiller.turns:
            distiller.turn = turn
            distiller(**copied(prepared), mode="loss")
    finally:
        distiller.monitor = None
    return found
