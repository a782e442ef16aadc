"""The student's own moving average as its teacher: self-distillation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from kd3d.core.portable import part
from kd3d.core.registry import TEACHERS
from kd3d.core.schedules import build_schedule
from kd3d.errors import UserError
from kd3d.teachers.base import ModelTeacher

BUFFERS = ("average", "copy")


@TEACHERS.register_module()
class EMA(ModelTeacher):
    r"""Exponential moving average of the student.

    A. Tarvainen, H. Valpola, "Mean teachers are better role models", NeurIPS 2017, section 3:

    .. math:: \theta'_t = m_t \theta'_{t-1} + (1 - m_t) \theta_t

    It starts as a copy of the student at the first step and is saved in the checkpoint, weights,
    buffers and step count, so that a resumed training goes on bit for bit.

    Args:
        student: The student's detector (given by the distiller).
        name: Its name in taps.
        momentum: m, a number or a schedule of the training's progress.
        warmup: Use :math:`m_t = \min(m, (1 + t) / (10 + t))`, so that the average forgets the
            random start; t counts optimizer steps.
        buffers: ``average`` floating-point buffers (BatchNorm statistics) like weights, or ``copy``
            the student's. Integer buffers are copied.
    """

    follows_student = True

    def __init__(
        self,
        student: dict[str, Any],
        name: str = "teacher",
        momentum: float | dict[str, Any] = 0.999,
        warmup: bool = True,
        buffers: str = "average",
    ) -> None:
        if buffers not in BUFFERS:
            raise UserError(f"unknown buffers {buffers!r}", f"teacher {name}", " or ".join(BUFFERS))
        super().__init__(name, student)
        self.momentum, self.warmup, self.buffers = build_schedule(momentum), warmup, buffers
        self.updates = 0
        self.student: nn.Module | None = None
        self.freeze()

    def attach(self, student: nn.Module) -> None:
        """Remember whom to follow."""
        self.student = student

    def __call__(self, *batch: Any) -> dict[str, Any]:
        """Return tap name -> value; before the first update it is the student."""
        if self.updates == 0 and self.student is not None:
            self.model.load_state_dict(self.student.state_dict())  # even what is not finite
        return super().__call__(*batch)

    def after_step(self, student: nn.Module, progress: float) -> None:
        """Move towards the student."""
        momentum = self.momentum(progress)
        if self.warmup:
            momentum = min(momentum, (1 + self.updates) / (10 + self.updates))
        self._follow(student, momentum)
        self.updates += 1

    @torch.no_grad()
    def _follow(self, student: nn.Module, momentum: float) -> None:
        weights, buffers = dict(student.named_parameters()), dict(student.named_buffers())
        for name, mine in self.model.named_parameters():
            mine.lerp_(weights[name].detach(), 1 - momentum)
        for name, mine in self.model.named_buffers():
            if self.buffers == "average" and mine.is_floating_point():
                mine.lerp_(buffers[name], 1 - momentum)
            else:
                mine.copy_(buffers[name])

    def state(self) -> dict[str, Tensor]:
        """Return the average's state dict and the number of updates."""
        state = self.model.state_dict()
        state["updates"] = torch.tensor(self.updates)
        return state

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Continue from a saved average."""
        self.updates = int(state["updates"])
        weights = part(state, lambda key: None if key == "updates" else key)
        self.model.load_state_dict(weights, strict=True)
