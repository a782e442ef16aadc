"""One training step, looked at from all sides."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from kd3d.core.branches import copied
from kd3d.core.monitor import Monitor
from kd3d.evaluation.peak import peak_bytes


@dataclass
class Look:
    """What one step showed.

    Attributes:
        losses: Log key -> value, with weights.
        monitor: Gradients of the terms, coverage of masks, sanity of teachers.
        without: Trained tensors that got no gradient, by their names in the distiller.
        broken: Trained tensors whose gradient is not finite.
        still: Terms of which no parameter got a gradient other than 0.
        taught: Teachers' tensors that got a gradient.
    """

    losses: dict[str, float]
    monitor: Monitor
    without: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    still: list[str] = field(default_factory=list)
    taught: list[str] = field(default_factory=list)


def look(distiller: Any, raw: dict[str, Any], optimizer: torch.optim.Optimizer) -> Look:
    """Take one step of every learner on a raw batch and return what it showed.

    Args:
        distiller: Of `kd3d.inspection.trial.build_distiller`.
        raw: A collated batch; not changed.
        optimizer: Steps after the gradients were looked at, if all are finite.
    """
    distiller.train()
    prepared = distiller.data_preprocessor(copy.deepcopy(raw), True)
    monitor = Monitor()
    monitor.attach(distiller)
    losses: dict[str, float] = {}
    try:
        for turn in distiller.turns:
            distiller.turn = turn
            losses |= _backward(distiller, copied(prepared))
    finally:
        monitor.detach()
    found = Look(losses, monitor)
    for name, parameter in distiller.named_parameters():
        if parameter.requires_grad and parameter.grad is None:
            found.without.append(name)
        elif parameter.grad is not None and not torch.isfinite(parameter.grad).all():
            found.broken.append(name)
    found.still = [name for name, term in distiller.terms.items() if _still(term)]
    found.taught = [name for name, p in frozen_parameters(distiller) if p.grad is not None]
    if not found.broken:  # a training skips such a step, too
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    distiller.after_step()
    return found


def cost(distiller: Any, raw: dict[str, Any]) -> tuple[float, int]:
    """Return wall seconds and peak memory in bytes of one step without a look at it."""
    started = time.perf_counter()

    def step() -> None:
        nonlocal started
        started = time.perf_counter()
        for turn in distiller.turns:
            distiller.turn = turn
            prepared = distiller.data_preprocessor(copy.deepcopy(raw), True)
            _backward(distiller, prepared)
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    peak = peak_bytes(step, warmup=0)
    seconds = time.perf_counter() - started
    distiller.zero_grad(set_to_none=True)
    return seconds, peak


def frozen_parameters(distiller: Any) -> list[tuple[str, Tensor]]:
    """Return name and tensor of the parameters of teachers that are not trained."""
    return [
        (f"{branch}.{name}", parameter)
        for teacher in distiller.teachers.values()
        if not teacher.trains
        for branch, model in teacher.branches.items()
        for name, parameter in model.named_parameters()
    ]


def _backward(distiller: Any, prepared: dict[str, Any]) -> dict[str, float]:
    total, logged = distiller.parse_losses(distiller(**prepared, mode="loss"))
    total.backward()
    return {key: float(value.detach()) for key, value in logged.items()}


def _still(term: torch.nn.Module) -> bool:
    parameters = [p for p in term.parameters() if p.requires_grad]
    return bool(parameters) and not any(p.grad is not None and p.grad.any() for p in parameters)
