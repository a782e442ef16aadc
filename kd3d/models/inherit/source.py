"""The trained detector that a student inherits from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from kd3d.core.registry import TEACHERS, build
from kd3d.errors import UserError, did_you_mean


@dataclass
class Source:
    """Whose weights are inherited.

    Attributes:
        name: The teacher's name or config file, for records.
        checkpoint: Where its weights lie; None: unknown, or random in tests.
        model: The detector.
    """

    name: str
    checkpoint: str | None
    model: Any


def trained_detector(teacher: str | dict[str, Any], teachers: dict[str, Any], where: str) -> Source:
    """Return a distiller's teacher by name, or build one from its config.

    Args:
        teacher: ``"teacher"``, ``"teacher/member"``, or arguments of `kd3d.teachers.frozen.Frozen`.
        teachers: The distiller's teachers by name.
        where: For messages.

    Raises:
        UserError: An unknown teacher, or one that has no trained weights when the student starts.
    """
    if not isinstance(teacher, str):
        made = build(TEACHERS, teacher, f"{where}.teacher", type="Frozen", name="inherit")
        if not _trained(made):
            kind = type(made).__name__
            raise UserError(f"{kind} has no weights of its own yet", where, "use type='Frozen'")
        return Source(str(teacher.get("config", "inline")), made.checkpoint, made.model)
    known: dict[str, Any] = {}
    for name, one in teachers.items():
        for member, other in getattr(one, "members", {}).items():
            known[f"{name}/{member}"] = other
        known[name] = one
    if teacher not in known:
        raise UserError(f"no teacher {teacher!r}", where, did_you_mean(teacher, known))
    one = known[teacher]
    if not _trained(one):
        raise UserError(
            f"teacher {teacher!r} ({type(one).__name__}) has no one set of trained weights",
            where,
            "give teacher=dict(config=..., checkpoint=...)",
        )
    return Source(teacher, one.checkpoint, one.model)


def _trained(teacher: Any) -> bool:
    """Whether it is one detector, with weights that are neither the student's nor random."""
    model = getattr(teacher, "model", None)
    return isinstance(model, nn.Module) and not (teacher.trains or teacher.follows_student)
