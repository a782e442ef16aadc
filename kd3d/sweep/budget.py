"""The baseline of equal time: as many epochs as fit into what another arm took."""

from __future__ import annotations

import math
from typing import Any

from mmengine.config import Config

from kd3d.errors import UserError
from kd3d.report.record import RunRecord


def training_seconds(record: RunRecord) -> float:
    """Return iterations x median step time: what training took, without stops and disturbances.

    Raises:
        UserError: The record states no step time.
    """
    if not record.step_time_s:
        raise UserError("the record states no step time", record.folder or record.name)
    return record.iterations * record.step_time_s


def equal_time_epochs(
    epochs: int, baseline: RunRecord, like: RunRecord, teacher: RunRecord | None
) -> tuple[int, str]:
    """Return how long the baseline trains in the time of another run, and a note that says so.

    Args:
        epochs: Length of the baseline's schedule.
        baseline: Its run.
        like: The run whose training time is matched.
        teacher: A run whose training time is added to it.

    Returns:
        Whole epochs, rounded down, at least `epochs`; the note.
    """
    own = training_seconds(baseline)
    extra = training_seconds(teacher) if teacher else 0.0
    seconds = training_seconds(like) + extra
    longer = max(epochs, math.floor(epochs * seconds / own))
    note = (
        f"{longer} epochs instead of {epochs}: the training time of {like.name}"
        + (" and of the teacher" if teacher else "")
        + f" ({seconds:.0f} s; {epochs} epochs of the baseline take {own:.0f} s)"
    )
    return longer, note


def epochs_of(config: Config, where: str) -> int:
    """Return the length of the schedule.

    Raises:
        UserError: The schedule is not counted in epochs.
    """
    epochs = config.train_cfg.get("max_epochs")
    if not isinstance(epochs, int):
        raise UserError("a budget needs train_cfg.max_epochs", where)
    return epochs


def stretch(config: Config, epochs: int) -> None:
    """Train for another number of epochs; schedulers that count epochs are stretched with it."""
    old = config.train_cfg.max_epochs
    config.train_cfg.max_epochs = epochs
    schedulers = config.get("param_scheduler") or []
    for scheduler in [schedulers] if isinstance(schedulers, dict) else schedulers:
        if scheduler.get("by_epoch", True):
            _stretch(scheduler, lambda count: round(count * epochs / old))


def _stretch(scheduler: dict[str, Any], longer: Any) -> None:
    whole_phase = scheduler.get("T_max") == scheduler.get("end", math.inf) - scheduler.get(
        "begin", 0
    )
    for key in ("begin", "end", "T_max", "total_steps"):
        if isinstance(scheduler.get(key), int):
            scheduler[key] = longer(scheduler[key])
    if whole_phase:  # rounding must not part them
        scheduler["T_max"] = scheduler["end"] - scheduler.get("begin", 0)
    if "milestones" in scheduler:
        scheduler["milestones"] = [longer(count) for count in scheduler["milestones"]]
