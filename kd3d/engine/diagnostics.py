"""The hook that watches a distillation and says what is wrong, in one line."""

from __future__ import annotations

import math
from collections.abc import Iterator

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS

from kd3d.core.agreement import Agreement
from kd3d.core.monitor import Monitor, TermReport
from kd3d.errors import UserError

# Limits beyond which a measurement is a symptom.
HIGH_RATIO, LOW_RATIO = 10.0, 1e-3  # term gradient over task gradient
OPPOSED = -0.5  # cosine of the angle between the two
LOST = 0.2  # share of objects that the teacher sees
NAMED = 0.4  # share of the objects seen that it names rightly
EVERYWHERE = 0.5  # share of all cells with a confident score
FEWEST_BOXES = 8  # in one batch, to judge a teacher by


@HOOKS.register_module()
class DiagnosticsHook(Hook):
    """Measure a step now and then, log it, and warn.

    Logged beside the losses: ``kd.<term>.grad_ratio`` and ``.grad_cos`` (the term's weighted
    gradient against the task's on the last parameters before its tap), ``.coverage``, ``.cka``,
    ``.adapter_norm``, and ``teacher.<name>.agreement``, ``.agreement_any_class``, ``.elsewhere``;
    see `kd3d.core.monitor`. In data-parallel training the gradients are averaged over the ranks,
    the rest is the first rank's. The trained weights are the same bits with and without this hook.

    The reentrant kind of activation checkpoint and sharded parameters are refused.

    A symptom that lasts `patience` measurements is told, then not again for `quiet` measurements.

    Args:
        interval: Iterations between measurements; the first iteration is measured, too.
        patience: Measurements in a row.
        quiet: Measurements of silence after a warning.
        score: Teacher score from which a cell is confident.
    """

    priority = "NORMAL"

    def __init__(
        self, interval: int = 50, patience: int = 3, quiet: int = 20, score: float = 0.1
    ) -> None:
        if min(interval, patience, quiet) < 1 or not 0 < score < 1:
            raise UserError(
                "interval, patience and quiet are whole numbers from 1, score lies in 0..1",
                "DiagnosticsHook",
            )
        self.interval, self.score = interval, score
        self.advice = Advice(patience, quiet)
        self.monitor: Monitor | None = None

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        """Attach a monitor when a measurement is due."""
        if runner.iter and (runner.iter + 1) % self.interval:
            return
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if not hasattr(model, "monitor"):
            raise UserError("there is no distiller to watch", "DiagnosticsHook", "remove the hook")
        if any(hasattr(parameter, "device_mesh") for parameter in model.parameters()):
            raise UserError(
                "gradients of single losses need whole parameters, these are sharded",
                "DiagnosticsHook",
                "use data parallelism, or remove the hook",
            )
        self.monitor = Monitor(self.score)
        self.monitor.attach(model)
        self.followers = {n for n, t in model.teachers.items() if t.follows_student}

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """Log what was measured and say what is wrong."""
        monitor, self.monitor = self.monitor, None
        if monitor is None:
            return
        monitor.detach()
        for key, value in monitor.figures().items():
            if math.isfinite(value):
                runner.message_hub.update_scalar(f"train/{key}", value)
        for line in self.advice.hear(dict(symptoms(monitor, self.followers))):
            runner.logger.warning(line)


class Advice:
    """Tells a symptom that lasts, and does not repeat itself.

    Args:
        patience: Measurements in a row before a symptom is told.
        quiet: Measurements before it is told again.
    """

    def __init__(self, patience: int, quiet: int) -> None:
        self.patience, self.quiet = patience, quiet
        self.streaks: dict[str, int] = {}
        self.silent: dict[str, int] = {}

    def hear(self, found: dict[str, str]) -> list[str]:
        """Return the lines to tell now.

        Args:
            found: Symptom -> line of this measurement.
        """
        self.streaks = {symptom: self.streaks.get(symptom, 0) + 1 for symptom in found}
        self.silent = {symptom: left - 1 for symptom, left in self.silent.items() if left > 1}
        due = [s for s in found if self.streaks[s] >= self.patience and s not in self.silent]
        self.silent |= dict.fromkeys(due, self.quiet)
        return [found[symptom] for symptom in due]


def symptoms(monitor: Monitor, followers: set[str]) -> Iterator[tuple[str, str]]:
    """Yield symptom and line of one measurement.

    Args:
        monitor: What was measured.
        followers: Teachers that are made from the student; they are not judged.
    """
    for name, report in monitor.terms.items():
        if report.weight > 0:
            for symptom, text in _of_term(report, monitor.boxes):
                yield f"{name}.{symptom}", f"kd.{name} {text}"
    for name, agreement in monitor.teachers.items():
        if name not in followers and agreement.boxes >= FEWEST_BOXES:
            for symptom, text in _of_teacher(agreement):
                yield f"{name}.{symptom}", f"teacher {name} {text}"


def _of_term(report: TermReport, boxes: int) -> Iterator[tuple[str, str]]:
    gradient = report.gradient
    if report.coverage == 0 and gradient.term == 0:
        why = f"although the batch has {boxes} objects: do they lie in the map's range?"
        why = why if boxes else "and the batches have no objects: are labels loaded?"
        yield "coverage", f"compares nothing: its mask covers no cell, {why}"
        return
    if report.coverage == 0:
        yield "unsure", "has a teacher that is confident in no cell: are its weights loaded?"
    if not gradient.shared:
        yield "shared", "and the task share no parameter before the tap: is part of it frozen?"
    elif gradient.term == 0:
        cause = (
            "is the tap detached, the feature dead (all 0), or the student equal to its teacher?"
        )
        yield "zero", f"gives the student no gradient: {cause}"
    elif gradient.task == 0:
        yield "task", "trains parameters to which the task gives no gradient: is the task loss 0?"
    elif gradient.ratio > HIGH_RATIO:
        cure = "lower its weight or use model.balance='auto'"
        yield "high", f"is {gradient.ratio:.3g}x the task gradient: {cure}"
    elif gradient.ratio < LOW_RATIO:
        cure = "it has next to no effect; raise its weight or use model.balance='auto'"
        yield "low", f"is {gradient.ratio:.2g}x the task gradient: {cure}"
    elif gradient.cosine < OPPOSED:
        cure = "is the teacher worse than the student, or the feature misaligned? lower its weight"
        yield "opposed", f"pulls against the task (cosine {gradient.cosine:.2f}): {cure}"


def _of_teacher(agreement: Agreement) -> Iterator[tuple[str, str]]:
    if agreement.elsewhere > EVERYWHERE:
        cure = "are its weights loaded?"
        yield "everywhere", f"is confident in {agreement.elsewhere:.0%} of all cells: {cure}"
    elif agreement.any_class < LOST:
        cure = "other coordinate convention, range, input or weights? measure it: kd3d test"
        yield "lost", f"sees {agreement.any_class:.0%} of the labelled objects: {cure}"
    elif agreement.right < NAMED * agreement.any_class:
        seen = f"sees {agreement.any_class:.0%} of the labelled objects"
        cure = "is its class order another one?"
        yield "classes", f"{seen} but names {agreement.right:.0%} of them rightly: {cure}"
