"""The distiller: learners, their teachers and the terms between them, as one mmengine model."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import Tensor, nn

from kd3d.core import portable
from kd3d.core.balance import scaled_losses
from kd3d.core.balancers import build_balance
from kd3d.core.branches import STUDENT, BranchPreprocessor
from kd3d.core.classes import LabelMatch
from kd3d.core.context import Context
from kd3d.core.gradients import TermStep, task_total
from kd3d.core.guard import Guard
from kd3d.core.labelled import only_labelled
from kd3d.core.labels import join_labels
from kd3d.core.probe import classes_of, probe
from kd3d.core.registry import INHERITANCES, TEACHERS, build
from kd3d.core.run import decoded, watch
from kd3d.core.sentences import (
    Some,
    check_labels,
    check_sides,
    detached,
    further_taps,
    further_values,
    sentences,
)
from kd3d.core.step import train_step
from kd3d.core.taps import BOXES, TapSet, head_of
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
        task_weight: Factor on the learners' own (detection) losses, 0 or more; methods that mix
            both sides convexly set it below 1.
        guard: Skips steps that are not finite, ``dict(max_in_row=10)``; see
            `kd3d.core.guard.Guard`. False: off.
        balance: None: the weights as they are; ``"auto"`` or ``dict(type="GradientRatio" |
            "Uncertainty" | "GradNorm" | "DWA", ...)``: factors on them, see
            `kd3d.core.balancers`.
        inherit: What the student takes over from a trained detector before its training, or a list
            of that: ``dict(type="FNAV2" | "BN_SCALE" | "OFA" | "handover" | "prefix", teacher=...,
            parts=[...])``; see `kd3d.models.inherit.kinds`.

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
        task_weight: float = 1.0,
        guard: dict[str, Any] | bool = True,
        balance: str | dict[str, Any] | None = None,
        inherit: dict[str, Any] | list[dict[str, Any]] | None = None,
        data_preprocessor: None = None,
        init_cfg: None = None,
    ) -> None:
        from kd3d.models.source import build_detector, preprocessor_config

        if data_preprocessor is not None or init_cfg is not None:
            raise UserError("each model brings its own", "model.data_preprocessor, model.init_cfg")
        if not 0 <= task_weight < float("inf"):
            raise UserError(f"it is {task_weight}", "model.task_weight", "0 or a positive number")
        super().__init__()
        self.task_weight = task_weight
        self.student: Any = build_detector(student, where="model.student")
        object.__setattr__(self, "teachers", {})
        portable.install(self)
        with torch.random.fork_rng(devices=[]):
            self._build_teachers(teachers or {}, student)
            self._build_inheritances(inherit or [])
        with torch.random.fork_rng(devices=[]):  # adapters start alike whatever the teachers are
            self._build_terms(method, terms, labels)
        models, configs = {STUDENT: self.student}, {STUDENT: preprocessor_config(student)}
        for teacher in self.teachers.values():
            if teacher.wanted or teacher.trains:
                models |= teacher.branches
                configs |= teacher.preprocessors
        known = (branches or {}).items()  # what a stored teacher would read is not needed
        own = {k: v for k, v in known if k not in self.teachers or self.teachers[k].branches}
        self.data_preprocessor = BranchPreprocessor(models, configs, own)
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

    def _build_inheritances(self, configs: dict[str, Any] | list[dict[str, Any]]) -> None:
        given = {"student": self.student, "teachers": self.teachers}
        self.inheritances: list[Any] = [
            build(INHERITANCES, config, "model.inherit", **given)
            for config in ([configs] if isinstance(configs, dict) else configs)
        ]
        keys = [key for one in self.inheritances for key in one.tensors]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise UserError(f"{twice} is inherited twice", "model.inherit", "separate the parts")

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
            wanted[reader.teacher_branch].append(reader.teacher_tap)
            for branch, tap in further_taps(reader):
                wanted[branch].append(tap)
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
        ours = classes_of(head_of(self.student))
        self.label_matches = {
            (name, tap): match
            for name in fixed
            for tap, spec in specs[name].items()
            if spec.layout == BOXES and (match := LabelMatch.of(ours, spec.classes))
        }
        for term in terms:
            term.further_specs = {f"{b}:{tap}": specs[b][tap] for b, tap in further_taps(term)}
            term.attach(
                self._detector(term.teacher_branch, term.teacher_tap),
                self._detector(term.student_branch, term.student_tap),
            )
            student = specs[term.student_branch][term.student_tap]
            teacher = specs[term.teacher_branch][term.teacher_tap]
            term.build(student, term.match_classes(student, teacher))

    def _detector(self, branch: str, tap: str) -> Callable[[], Any]:
        """Return a function that gives the detector behind a tap; see `Term.attach`."""
        teacher, student = self.teachers.get(branch), self.student
        return lambda: student if teacher is None else teacher.detector(tap)

    def init_weights(self) -> None:
        """Initialise the learners as stock mmdet3d does, then inherit; adapters keep theirs."""
        from kd3d.models.source import init_weights

        init_weights(self.student, "model.student")
        for inheritance in self.inheritances:
            inheritance.apply(self.student)
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
        features: dict[str, dict[str, Any]] = {}
        for teacher in self.teachers.values():
            if teacher.wanted:
                teacher.begin(data_samples)
        # Live teachers first: what they need in passing is free before the learners' graphs grow.
        early = {source.teacher_branch for source in self.labels}
        for name, teacher in self.teachers.items():
            if teacher.wanted and (teacher.branches or name in early):
                features[name] = self._ask(name, inputs, data_samples, context)
        for name, model in self.learners.items():
            if name in self.turn:
                own = [source for source in self.labels if source.learner == name]
                samples, added = join_labels(own, model, data_samples[name], features, context)
                losses |= added
                self.taps[name].arm()
                with only_labelled(model, samples, f"model.{name}"):
                    task = model(inputs[name], samples, mode="loss")
                tasks[name] = scaled_losses(task, self.task_weight)
                start = "task." if name == STUDENT else f"task.{name}."
                losses |= {start + key: value for key, value in tasks[name].items()}
                values = self.taps[name].pop(needs_grad=torch.is_grad_enabled())
                features[name] = decoded(model, values, data_samples[name])
            elif self.taps[name].taps:
                features[name] = watch(model, self.taps[name], inputs[name], data_samples[name])
        for name, teacher in self.teachers.items():
            if teacher.wanted and not teacher.branches and name not in early:
                features[name] = self._ask(name, inputs, data_samples, context)
        if self.guard is not None:
            self.guard.note(features)
        steps: dict[str, TermStep] = {}
        for name, term in self.terms.items():
            if term.student_branch in self.turn:
                student = features[term.student_branch][term.student_tap]
                teacher = detached(features[term.teacher_branch][term.teacher_tap])
                teacher = term.matched(teacher)
                context.taps = further_values(term, features)
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

    def _ask(self, name: str, inputs: dict, data_samples: dict, context: Context) -> dict[str, Any]:
        """Return a teacher's taps; its detections have the student's labels."""
        values = self.teachers[name](inputs, data_samples, context)
        for (teacher, tap), match in self.label_matches.items():
            if teacher == name:
                values[tap] = match(values[tap])
        return values

    def _apply(self, function: Any, recurse: bool = True) -> Distiller:
        """Move the teachers along, although they are not on the module tree."""
        super()._apply(function, recurse)
        for teacher in self.teachers.values():
            if not teacher.trains:
                teacher.apply_to_tensors(function)
        return self
