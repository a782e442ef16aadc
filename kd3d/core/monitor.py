"""One look at a distillation step: gradients, masks, adapters, similarity, the teacher's sanity.

Nothing here changes the training: no ``.grad``, no buffer, no random state.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kd3d.core.agreement import Agreement, agree
from kd3d.core.context import Context
from kd3d.core.foreground import Foreground
from kd3d.core.gradients import Comparison, TermStep, compare_terms
from kd3d.core.probe import classes_of
from kd3d.core.spec import describe
from kd3d.core.taps import aliases, head_of
from kd3d.core.term import FeatureTerm
from kd3d.losses.logit.head_scores import class_scores
from kd3d.losses.similarity.cka import linear_cka

FEWEST_ROWS = 16  # below this a similarity says nothing


@dataclass
class TermReport:
    """What was seen of one term.

    Attributes:
        gradient: Its weighted gradient against the task's.
        weight: Its weight, balance included.
        coverage: Share of the cells that count, None where all do; for heads, of the cells where
            the teacher is confident.
        cka: Similarity of the two features before the adapter's projection, at cells that count.
        adapter_norm: L2 norm of all parameters that the term trains, None where there is none.
    """

    gradient: Comparison
    weight: float
    coverage: float | None = None
    cka: float | None = None
    adapter_norm: float | None = None

    def figures(self) -> dict[str, float]:
        """Return log name -> value; what was not measured is left out."""
        found: dict[str, float | None] = {
            "coverage": self.coverage,
            "cka": self.cka,
            "adapter_norm": self.adapter_norm,
        }
        if self.gradient.shared and self.gradient.task > 0:
            found |= {"grad_ratio": self.gradient.ratio, "grad_cos": self.gradient.cosine}
        return {name: value for name, value in found.items() if value is not None}


class Monitor:
    """Measures the step during which it is attached.

    Args:
        score: Teacher score from which a cell is confident.
        cells: Most cells taken for the similarity.

    Attributes:
        terms: Term name -> report.
        teachers: Teacher name (``<ensemble>/<member>``) -> agreement; teachers without a head on
            a bird's-eye-view grid, caches and peers are left out.
        boxes: Ground-truth boxes of the batch.
    """

    def __init__(self, score: float = 0.1, cells: int = 512) -> None:
        self.score, self.cells = score, cells
        self.terms: dict[str, TermReport] = {}
        self.teachers: dict[str, Agreement] = {}
        self.boxes = 0
        self._heads: dict[str, Any] = {}
        self._models: dict[str, Any] = {}
        self._undo: contextlib.ExitStack | None = None

    def attach(self, distiller: Any) -> None:
        """Watch the next step; teachers run up to their heads in it."""
        self._undo = contextlib.ExitStack()
        distiller.monitor = self
        self._undo.callback(setattr, distiller, "monitor", None)
        for teacher in distiller.teachers.values():
            for name, one in _detectors(teacher):
                path = aliases(one.model).get("head")
                if path is None or getattr(one, "frame", None) is not None:
                    continue  # no head, or one in the car's frame, where the boxes are not
                self._models[name] = one.model
                head = one.model.get_submodule(path)
                handle = head.register_forward_hook(_keeper(self._heads, name))
                self._undo.callback(handle.remove)
                self._undo.callback(setattr, one.taps, "stop", one.taps.stop)
                one.taps.stop = False

    def detach(self) -> None:
        """Stop watching."""
        if self._undo is not None:
            self._undo.close()
            self._undo = None
        self._heads, self._models = {}, {}

    def __call__(
        self,
        distiller: Any,
        tasks: dict[str, Tensor],
        steps: dict[str, TermStep],
        context: Context,
    ) -> None:
        """Take all measurements of one step (or turn); called by the distiller.

        Args:
            distiller: The `kd3d.core.distiller.Distiller`.
            tasks: Learner -> its summed task losses, as trained.
            steps: Term name -> its step.
            context: The batch.
        """
        with _buffers_kept(distiller):
            compared = compare_terms(tasks, steps)
        self.boxes = sum(len(boxes) for boxes in context.boxes)
        with torch.no_grad():
            for name, found in compared.items():
                report = TermReport(found, float(steps[name].weight))
                term = distiller.terms[name]
                rows = attended(term, steps[name], context, self.score)
                if rows is not None:
                    report.coverage = rows.coverage
                    report.cka = _similarity(rows, self.cells)
                report.adapter_norm = _norm(term)
                self.terms[name] = report
            for name, head in self._heads.items():
                names = [n for task in classes_of(head_of(distiller.student)) for n in task]
                agreement = agree(self._models[name], head, context, self.score, names)
                if agreement is not None:
                    self.teachers[name] = agreement
            self._heads.clear()

    def figures(self) -> dict[str, float]:
        """Return log key -> value of everything that was measured."""
        found: dict[str, float] = {}
        for name, report in self.terms.items():
            found |= {f"kd.{name}.{key}": value for key, value in report.figures().items()}
        for name, agreement in self.teachers.items():
            found |= {f"teacher.{name}.{key}": v for key, v in agreement.figures().items()}
        return found


@dataclass
class Rows:
    """The positions at which a term compares, as rows of both sides.

    Attributes:
        student: (N, C), or None where the two sides have no common positions.
        teacher: (N, D), or None.
        coverage: Share of the positions that count; None: all.
    """

    student: Tensor | None
    teacher: Tensor | None
    coverage: float | None


def attended(term: nn.Module, step: TermStep, context: Context, score: float) -> Rows | None:
    """Return the rows of both sides at the positions that count for a term.

    Args:
        term: The term.
        step: Its step.
        context: The batch.
        score: Teacher score from which a cell of a head counts.
    """
    student, teacher = step.student, step.teacher
    if isinstance(term, FeatureTerm) and isinstance(student, Tensor) and student.dim() == 4:
        return _feature_rows(term, student, teacher, context)
    if isinstance(student, Tensor) and isinstance(teacher, Tensor):
        if student.dim() != teacher.dim() or student.shape[2:] != teacher.shape[2:]:
            return None
        rows = [value.transpose(0, 1).flatten(1).T for value in (student, teacher)]
        return Rows(rows[0], rows[1], None) if len(rows[0]) == len(rows[1]) else None
    layouts = {describe(value, None).layout for value in (student, teacher)}
    if len(layouts) == 1 and (layout := layouts.pop()).endswith("_head"):
        ours, theirs = (class_scores(value, layout) for value in (student, teacher))
        keep = theirs.amax(1) > score  # (B, H, W)
        coverage = keep.float().mean().item()
        if ours.shape[2:] != theirs.shape[2:]:
            return Rows(None, None, coverage)
        rows = [value.movedim(1, -1)[keep].logit(1e-6) for value in (ours, theirs)]
        return Rows(rows[0], rows[1], coverage)
    return None


def _feature_rows(term: FeatureTerm, student: Tensor, teacher: Any, context: Context) -> Rows:
    """Return a map's rows at the cells with weight, the teacher on the student's cells."""
    if isinstance(teacher, Foreground):
        seen = teacher
    elif term.mask_options is not None:
        seen = term.foreground(teacher, context)
    else:
        feature, valid = term.adapter.teacher(teacher)
        mask = torch.ones_like(student[:, :1]) if valid is None else valid.expand_as(student[:, :1])
        seen = Foreground.of(feature, mask, None)
    sample, row, column = seen.cells.unbind(1)
    count = len(student) * student.shape[2] * student.shape[3]
    share = len(sample) / count
    everything = term.mask_options is None and share == 1.0
    rows = student[sample, :, row, column]
    return Rows(rows, seen.rows, None if everything else share)


def _similarity(rows: Rows, cells: int) -> float | None:
    """Return debiased linear CKA at no more than `cells` evenly spread rows."""
    if rows.student is None or rows.teacher is None or len(rows.student) < FEWEST_ROWS:
        return None
    pick = torch.linspace(0, len(rows.student) - 1, min(cells, len(rows.student))).long()
    return linear_cka(rows.student[pick], rows.teacher[pick], debiased=True).item()


def _norm(term: nn.Module) -> float | None:
    parameters = [p.detach() for p in term.parameters() if p.requires_grad]
    if not parameters:
        return None
    return torch.stack([p.float().norm() for p in parameters]).norm().item()


def _detectors(teacher: Any) -> Iterator[tuple[str, Any]]:
    """Yield name and the teacher, or each member, that runs one detector up to its taps."""
    if teacher.trains:
        return
    for one in (teacher, *getattr(teacher, "members", {}).values()):
        if getattr(one, "taps", None) is not None and one.taps.taps:
            yield one.name, one


def _keeper(kept: dict[str, Any], name: str) -> Any:
    def keep(module: nn.Module, inputs: tuple, output: Any) -> None:
        kept[name] = output

    return keep


@contextlib.contextmanager
def _buffers_kept(module: nn.Module) -> Iterator[None]:
    """Put back buffers that change inside: a checkpointed BatchNorm is run again by a gradient."""
    before = [(buffer, buffer.clone()) for buffer in module.buffers()]
    yield
    for buffer, old in before:
        if not torch.equal(buffer, old):
            buffer.copy_(old)
