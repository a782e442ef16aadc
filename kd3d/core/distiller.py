"""The distiller: learners, their teachers and the terms between them, as one mmengine model."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import Tensor, nn

from kd3d.core import portable
from kd3d.core.balancers import build_balance
from kd3d.core.branches import STUDENT, BranchPreprocessor
from kd3d.core.context import Context
from kd3d.core.gradients import TermStep, task_total
from kd3d.core.guard import Guard
from kd3d.core.labels import box_size
from kd3d.core.probe import probe
from kd3d.core.registry import TEACHERS, build
from kd3d.core.run import watch
from kd3d.core.sentences import Some, check_labels, check_sides, sentences
from kd3d.core.step import train_step
from kd3d.core.taps import TapSet
from kd3d.errors import UserError


@MODELS.register_module()
class Distiller(BaseModel):
    """Train a stock detector with knowledge from teachers; predict as the stock detector.

    With weight 0, or without terms, the student's training is bit for bit that of the stock
    detector: neither teachers nor adapters touch the global random state.

    Args:
        student: The student's detector: ``dict(config=..., shrink=...)`` or a stock model dict;
            see `kd3d.models.source.build_detector`.
        teachers: Teacher name -> config: ``dict(type="Frozen", config=..., checkpoint=...)``
            (offline), ``dict(type="Online", config=...)`` (mutual), ``dict(type="EMA")`` (self),
            ``Ensemble``, ``Cached``. A term may also name ``student`` as its teacher.
        method: A method's config or a list of them, ``dict(type="fitnets", ...)``.
        terms: Further terms.
        labels: Teachers whose boxes join a learner's ground truth before its detection loss, a
            config of `kd3d.core.labels.TeacherLabels` or a list; they join one after the other.
        branches: Model name -> {input name in the model: input name in the batch}; see
            `kd3d.core.branches.BranchPreprocessor`.
        guard: Skips steps that are not finite, ``dict(max_in_row=10)``; see
            `kd3d.core.guard.Guard`. False: off.
        balance: None: the weights as they are; ``"auto"`` or ``dict(type="GradientRatio" |
            "Uncertainty" | "GradNorm" | "DWA", ...)``: factors on them, see
            `kd3d.core.balancers`.

    Attributes:
        peers: Online peer name -> detector; together with the student, the learners.
        turns: Groups of learners that step together; one group unless peers alternate.
        turn: The group whose turn it is.

    Raises:
        UserError: Unknown teacher, tap, method or term, or features that do not fit.
    """

    teachers: dict[str, Any]
    terms: Any

    def __init__(
        self,
        student: dict[str, Any],
        teachers: dict[str, dict] | None = None,
        method: Some = None,
        terms: Some = None,
        labels: Some = None,
        branches: dict[str, dict[str, str]] | None = None,
        guard: dict[str, Any] | bool = True,
        balance: str | dict[str, Any] | None = None,
        data_preprocessor: None = None,
        init_cfg: None = None,
    ) -> None:
        from kd3d.models.source import build_detector, preprocessor_config

        if data_preprocessor is not None or init_cfg is not None:
            raise UserError("each model brings its own", "model.data_preprocessor, model.init_cfg")
        super().__init__()
        self.student: Any = build_detector(student, where="model.student")
        object.__setattr__(self, "teachers", {})
        portable.install(self)
        with torch.random.fork_rng(devices=[]):
            self._build_teachers(teachers or {}, student)
        with torch.random.fork_rng(devices=[]):  # adapters start alike whatever the teachers are
            self._build_terms(method, terms, labels)
        models, configs = {STUDENT: self.student}, {STUDENT: preprocessor_config(student)}
        for teacher in self.teachers.values():
            if teacher.wanted or teacher.trains:
                models |= teacher.branches
                configs |= teacher.preprocessors
        self.data_preprocessor = BranchPreprocessor(models, configs, branches)
        self.progress = 0.0
        self.balance: Any = None if balance is None else build_balance(balance, self)
        self.monitor: Any = None  # set by a hook for the steps that it looks at
        self.guard: Guard | None = None
        if guard is not False:
            self.guard = Guard(**(guard if isinstance(guard, dict) else {}))

    @property
    def learners(self) -> dict[str, Any]:
        """Branch name -> detector that is trained; the student first."""
        return {STUDENT: self.student, **self.peers}

    @property
    def readers(self) -> list[Any]:
        """What reads teachers: the terms and the label sources."""
        return [*self.terms.values(), *self.labels]

    def _build_teachers(self, configs: dict[str, dict], student: dict[str, Any]) -> None:
        for name, config in configs.items():
            where = f"model.teachers.{name}"
            if name == STUDENT or "/" in name:
                raise UserError("this name is the student's, or holds a /", where)
            kind = TEACHERS.get(config.get("type", "Frozen"))
            defaults = {"student": student} if getattr(kind, "follows_student", False) else {}
            teacher = build(TEACHERS, config, where, type="Frozen", name=name, **defaults)
            teacher.attach(self.student)
            self.teachers[name] = teacher
        peers = {name: t for name, t in self.teachers.items() if t.trains}
        self.peers = nn.ModuleDict({name: t.model for name, t in peers.items()})
        together = [name for name, peer in peers.items() if peer.update == "synchronous"]
        self.turns = [(STUDENT, *together), *((n,) for n in peers if n not in together)]
        self.turn = self.turns[0]

    def _build_terms(self, method: Some, more: Some, labels: Some) -> None:
        terms, self.labels = sentences(method, more, labels, list(self.peers))
        check_sides(terms, list(self.learners), [STUDENT, *self.teachers])
        fixed = [name for name, teacher in self.teachers.items() if not teacher.trains]
        check_labels(self.labels, list(self.learners), fixed)
        self.terms = nn.ModuleDict({term.name: term for term in terms})
        wanted: dict[str, list[str]] = {name: [] for name in [*self.learners, *self.teachers]}
        for term in terms:
            wanted[term.student_branch].append(term.student_tap)
        for reader in self.readers:
            wanted[reader.teacher_branch] += [reader.teacher_tap, *reader.beside]
        self.taps: dict[str, TapSet] = {}
        specs = {}
        for name, model in self.learners.items():
            self.taps[name] = TapSet(model, wanted[name])
            if wanted[name]:
                probe(model, self.taps[name])
            specs[name] = self.taps[name].specs
        for name, teacher in self.teachers.items():
            if not teacher.trains:
                specs[name] = teacher.tap(wanted[name]) if wanted[name] else {}
        for term in terms:
            theirs = specs[term.teacher_branch]
            term.beside_specs = {tap: theirs[tap] for tap in term.beside}
            term.build(specs[term.student_branch][term.student_tap], theirs[term.teacher_tap])

    def init_weights(self) -> None:
        """Initialise the learners as stock mmdet3d does; adapters keep their values."""
        self.student.init_weights()
        for name in self.peers:
            self.teachers[name].init_weights()

    def set_progress(self, progress: float) -> None:
        """Move every term's weight along its schedule; `progress` is in [0, 1]."""
        self.progress = progress
        for term in self.terms.values():
            term.set_progress(progress)

    def after_step(self) -> None:
        """Let teachers follow the student; called after every optimizer step."""
        for teacher in self.teachers.values():
            teacher.after_step(self.student, self.progress)

    def train_step(self, data: dict[str, Any], optim_wrapper: Any) -> dict[str, Tensor]:
        """Take one optimizer step a turn and return what is logged."""
        return train_step(self, self, partial(self._run_forward, mode="loss"), data, optim_wrapper)

    def forward(self, inputs: dict, data_samples: Any = None, mode: str = "tensor") -> Any:
        """Run in the three modes of mmengine; ``predict`` and ``tensor`` are the student's own."""
        if mode == "loss":
            return self.loss(inputs, data_samples)
        return self.student(inputs, data_samples, mode=mode)

    def loss(self, inputs: dict[str, dict], data_samples: dict[str, list]) -> dict[str, Tensor]:
        """Return ``task.*`` losses of this turn's learners and ``kd.<term>.loss`` / ``.weight``."""
        context = Context.from_batch(inputs, data_samples[STUDENT], self.progress)
        losses: dict[str, Tensor] = {}
        tasks: dict[str, dict[str, Any]] = {}
        features = context.features
        for teacher in self.teachers.values():
            if teacher.wanted:
                teacher.begin(data_samples)
        # Live teachers first: what they need in passing is free before the learners' graphs grow.
        early = {source.teacher_branch for source in self.labels}
        for name, teacher in self.teachers.items():
            if teacher.wanted and (teacher.branches or name in early):
                features[name] = teacher(inputs, data_samples, context)
        for name, model in self.learners.items():
            if name in self.turn:
                samples = self._join_labels(name, data_samples[name], context, losses)
                self.taps[name].arm()
                tasks[name] = model(inputs[name], samples, mode="loss")
                start = "task." if name == STUDENT else f"task.{name}."
                losses |= {start + key: value for key, value in tasks[name].items()}
                features[name] = self.taps[name].pop(needs_grad=torch.is_grad_enabled())
            elif self.taps[name].taps:
                features[name] = watch(model, self.taps[name], inputs[name], data_samples[name])
        for name, teacher in self.teachers.items():
            if teacher.wanted and not teacher.branches and name not in early:
                features[name] = teacher(inputs, data_samples, context)
        if self.guard is not None:
            self.guard.note(features)
        steps: dict[str, TermStep] = {}
        for name, term in self.terms.items():
            if term.student_branch in self.turn:
                student = features[term.student_branch][term.student_tap]
                teacher = detached(features[term.teacher_branch][term.teacher_tap])
                value = term(student, teacher, context)
                steps[name] = TermStep(value, term.weight, student, teacher, term.student_branch)
        if self.balance is not None or self.monitor is not None:
            totals = {name: task_total(task) for name, task in tasks.items()}
            if self.balance is not None:
                self.balance.apply_to(losses, totals, steps)
            if self.monitor is not None:
                self.monitor(self, totals, steps, context)
        for name, step in steps.items():
            losses[f"kd.{name}.loss"] = step.value * step.weight
            losses[f"kd.{name}.weight"] = step.weight.detach()
        return losses

    def _join_labels(
        self,
        learner: str,
        samples: list[Any],
        context: Context,
        losses: dict[str, Tensor],
    ) -> list[Any]:
        """Return a learner's samples with teachers' boxes, and note how many there are."""
        for source in self.labels:
            if source.learner == learner:
                found = context.features[source.teacher_branch][source.teacher_tap]
                joined = source.joined(samples, found, box_size(self.learners[learner]))
                context.joined[learner], samples = joined, joined.samples
                count = joined.boxes[0].new_tensor(joined.added, dtype=torch.float32)
                losses[f"kd.{source.name}.boxes"] = count.mean()
        return samples

    def _apply(self, function: Any, recurse: bool = True) -> Distiller:
        """Move the teachers along, although they are not on the module tree."""
        super()._apply(function, recurse)
        for teacher in self.teachers.values():
            if not teacher.trains:
                teacher.apply_to_tensors(function)
        return self


def detached(value: Any) -> Any:
    """Return a tap's value without its graph."""
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, dict):
        return {key: detached(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(detached(item) for item in value)
    return value
