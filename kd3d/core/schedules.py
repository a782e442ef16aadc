"""Weights over training: functions of progress in [0, 1].

A weight is multiplied, never skipped, so that the graph is the same in every step (a skipped term
under DistributedDataParallel waits for gradients that never come).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from kd3d.errors import UserError, did_you_mean

Schedule = Callable[[float], float]


def constant(value: float) -> Schedule:
    """The same value throughout."""
    return lambda progress: value


def linear(start: float, end: float) -> Schedule:
    """From `start` to `end` in a straight line."""
    return lambda progress: start + (end - start) * progress


def cosine(start: float, end: float) -> Schedule:
    """From `start` to `end` along half a cosine."""
    return lambda progress: end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def step(values: list[float], at: list[float]) -> Schedule:
    """`values[i]` from progress ``at[i - 1]`` on; one value more than boundaries."""
    if len(values) != len(at) + 1 or sorted(at) != list(at):
        raise UserError("step needs rising boundaries and one value more than boundaries", "weight")
    return lambda progress: values[sum(progress >= boundary for boundary in at)]


def warmup(value: float, until: float) -> Schedule:
    """From 0 to `value` until progress `until`, then constant."""
    return lambda progress: value * min(1.0, progress / until) if until > 0 else value


def stop(value: float, at: float) -> Schedule:
    """`value` until progress `at`, then 0."""
    return lambda progress: value if progress < at else 0.0


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    f.__name__: f for f in (constant, linear, cosine, step, warmup, stop)
}


def build_schedule(config: float | dict[str, Any]) -> Schedule:
    """Return the schedule of a number or of ``dict(type="cosine", start=1.0, end=0.0)``."""
    if isinstance(config, (int, float)):
        return constant(float(config))
    arguments = dict(config)
    name = arguments.pop("type", "")
    if name not in SCHEDULES:
        raise UserError(f"unknown schedule {name!r}", "weight", did_you_mean(name, SCHEDULES))
    try:
        return SCHEDULES[name](**arguments)
    except TypeError as error:
        raise UserError(f"schedule {name}: {error}", "weight") from error
