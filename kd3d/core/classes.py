"""Two centre heads whose tasks part or order the classes differently, matched by name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from kd3d.core.spec import Classes, Detections, FeatureSpec
from kd3d.errors import UserError

HEATMAP = "heatmap"


@dataclass(frozen=True)
class ClassMatch:
    """The teacher's raw output in the student's tasks and order of classes.

    Where a student's task has classes of several of the teacher's tasks, a cell's boxes are those
    of the task whose score for these classes is highest there. The teacher's other classes are
    left out.

    Attributes:
        tasks: For each of the student's tasks, for each of its classes: the teacher's task, and
            the class's channel in it.
    """

    tasks: tuple[tuple[tuple[int, int], ...], ...]

    @classmethod
    def of(cls, student: Classes, teacher: Classes, where: str) -> ClassMatch | None:
        """Match by name; None where both are the same.

        Args:
            student: Names of its classes, task by task.
            teacher: Likewise.
            where: For messages.

        Raises:
            UserError: The teacher lacks a class of the student's.
        """
        if student == teacher:
            return None
        known = {name: (i, k) for i, task in enumerate(teacher) for k, name in enumerate(task)}
        missing = [name for task in student for name in task if name not in known]
        if missing:
            raise UserError(
                f"the teacher's head has no class {', '.join(missing)}, only {', '.join(known)}",
                where,
                "classes are matched by name; train one of both with the other's names",
            )
        return cls(tuple(tuple(known[name] for name in task) for task in student))

    def __call__(self, head: Any) -> list[list[dict[str, Tensor]]]:
        """Return a raw output (a list of one dict for each of the student's tasks)."""
        return [[self._task(head, wanted)] for wanted in self.tasks]

    def spec(self, teacher: FeatureSpec, student: FeatureSpec) -> FeatureSpec:
        """Return the spec of what the call returns."""
        maps = []
        for wanted in self.tasks:
            channels = dict(teacher.maps[wanted[0][0]]) | {HEATMAP: len(wanted)}
            maps.append(tuple(channels.items()))
        first = dict(maps[0])[HEATMAP]
        return replace(teacher, channels=first, maps=tuple(maps), classes=student.classes)

    def _task(self, head: Any, wanted: tuple[tuple[int, int], ...]) -> dict[str, Tensor]:
        classes = [head[task][0][HEATMAP][:, channel] for task, channel in wanted]
        made = {HEATMAP: torch.stack(classes, 1)}
        sources = list(dict.fromkeys(task for task, _ in wanted))
        rest = [name for name in head[sources[0]][0] if name != HEATMAP]
        if len(sources) == 1:
            return made | {name: head[sources[0]][0][name] for name in rest}
        best = [
            torch.stack([c for c, (task, _) in zip(classes, wanted) if task == source]).amax(0)
            for source in sources
        ]
        chosen = torch.stack(best).argmax(0)  # (B, H, W)
        for name in rest:
            several = torch.stack([head[source][0][name] for source in sources])
            at = chosen[None, :, None].expand(1, *several.shape[1:])
            made[name] = several.gather(0, at)[0]
        return made


@dataclass(frozen=True)
class LabelMatch:
    """A teacher's detections with the student's labels; classes the student lacks are left out.

    Attributes:
        labels: For each of the teacher's labels the student's, -1 where it has none.
    """

    labels: tuple[int, ...]

    @classmethod
    def of(cls, student: Classes, teacher: Classes) -> LabelMatch | None:
        """Match by name; None where the order is the same, or a model does not name its classes.

        Args:
            student: Names of its classes, task by task; a label counts them through.
            teacher: Likewise.
        """
        ours, theirs = ([name for task in side for name in task] for side in (student, teacher))
        if not ours or not theirs or ours == theirs:
            return None
        return cls(tuple(ours.index(name) if name in ours else -1 for name in theirs))

    def __call__(self, found: Detections) -> Detections:
        """Return detections (``labels`` (N,), ``boxes``, ``scores``, one dict a sample)."""
        made = []
        for one in found:
            labels = one["labels"].new_tensor(self.labels)[one["labels"].long()]
            made.append({k: v[labels >= 0] for k, v in (one | {"labels": labels}).items()})
        return made
