"""Automatic weights: factors on the task and on every term that follow the training.

A factor multiplies a term's own weight (a number or schedule), so a weight of 0 stays 0 and the
graph is the same in every step. State lies in buffers and parameters on the module tree, so it is
saved under ``kd.balance.*`` and a resumed training goes on bit for bit. Figures are averaged over
the ranks of a data-parallel training, so every rank has the same factors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.registry import Registry
from torch import Tensor, nn

from kd3d.core.gradients import TermStep
from kd3d.errors import UserError

BALANCES = Registry("kd3d balance")


class Balance(nn.Module):
    """Base: one factor for the task and one a term.

    Args:
        terms: Term name -> term.
        interval: Measure every so many steps (forward passes in training mode; with gradient
            accumulation these are the small ones).

    Attributes:
        names: ``("task", *terms)``, the order of every vector here.
        factor: (1 + T,) current factors.
    """

    measures_gradients = False  # takes gradients of single losses, which needs whole parameters
    factor: Tensor
    steps: Tensor

    def __init__(self, terms: Mapping[str, Any], interval: int = 1) -> None:
        super().__init__()
        if not isinstance(interval, int) or interval < 1:
            raise UserError(f"interval is {interval!r}", "model.balance", "a whole number from 1")
        self.names, self.interval = ("task", *terms), interval
        self.register_buffer("factor", torch.ones(len(self.names)))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def apply_to(
        self, losses: dict[str, Any], tasks: dict[str, Tensor], steps: dict[str, TermStep]
    ) -> None:
        """Scale the task losses in `losses` and the weights in `steps` by the factors.

        Adds ``balance.task`` (the task's factor, logged) and, where the balancer is learned, its
        own ``balance.loss``.

        Args:
            losses: What the distiller returns so far, ``task.*`` among it.
            tasks: Learner -> its summed task losses; scaled, too.
            steps: Term name -> its step.
        """
        if self.training and torch.is_grad_enabled():
            if int(self.steps) % self.interval == 0:
                self.update(tasks, steps)
            self.steps += 1
        factors = dict(zip(self.names, self.factors().unbind()))
        own = {key: value for key, value in losses.items() if key.startswith("task.")}
        losses.update(scaled_losses(own, factors["task"]))
        for learner, value in tasks.items():
            tasks[learner] = value * factors["task"]
        losses["balance.task"] = factors["task"].detach()
        penalty = self.penalty(steps)
        if penalty is not None:
            losses["balance.loss"] = penalty
        for name, step in steps.items():
            step.weight = step.weight * factors[name]

    def update(self, tasks: dict[str, Tensor], steps: dict[str, TermStep]) -> None:
        """Measure and move the factors; nothing by default."""

    def factors(self) -> Tensor:
        """Return the (1 + T,) factors of this step."""
        return self.factor.clone()

    def penalty(self, steps: dict[str, TermStep]) -> Tensor | None:
        """Return the balancer's own loss, None if it has none."""
        return None

    def _values(self, tasks: dict[str, Tensor], steps: dict[str, TermStep]) -> Tensor:
        """Return the (1 + T,) unweighted losses of this rank without graph."""
        total = torch.stack(list(tasks.values())).sum()
        values = [total, *(steps[name].value for name in self.names[1:])]
        return torch.stack([value.detach().float() for value in values])


def scaled_losses(values: dict[str, Any], factor: float | Tensor) -> dict[str, Any]:
    """Return losses, single ones and lists of them, times a factor; what is no loss stays."""
    return {
        key: _scaled(value, factor) if "loss" in key else value for key, value in values.items()
    }


def _scaled(value: Any, factor: float | Tensor) -> Any:
    if isinstance(value, (list, tuple)):
        return [item * factor for item in value]
    return value * factor
