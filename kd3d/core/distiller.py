"""The distiller: a student, its teachers and the terms between them, as one mmengine model."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import Tensor, nn

from kd3d.core import portable
from kd3d.core.branches import STUDENT, BranchPreprocessor
from kd3d.core.context import Context
from kd3d.core.registry import METHODS, TEACHERS, TERMS, build
from kd3d.core.run import probe
from kd3d.core.taps import TapSet
from kd3d.core.term import Term
from kd3d.errors import UserError, did_you_mean


@MODELS.register_module()
class Distiller(BaseModel):
    """Train a stock detector with knowledge from teachers; predict as the stock detector.

    With weight 0, or without terms, the student's training is bit for bit that of the stock
    detector: neither teachers nor adapters touch the global random state.

    Args:
        student: The student's detector: ``dict(config=..., shrink=...)`` or a stock model dict;
            see `kd3d.models.source.build_detector`.
        teachers: Teacher name -> config, ``dict(type="Frozen", config=..., checkpoint=...)``.
        method: A method's config or a list of them, ``dict(type="fitnets", ...)``.
        terms: Further terms.
        branches: Model name -> {input name in the model: input name in the batch}; see
            `kd3d.core.branches.BranchPreprocessor`.

    Raises:
        UserError: Unknown teacher, tap, method or term, or features that do not fit.
    """

    teachers: dict[str, Any]
    terms: Any

    def __init__(
        self,
        student: dict[str, Any],
        teachers: dict[str, dict] | None = None,
        method: dict | list[dict] | None = None,
        terms: list[dict] | None = None,
        branches: dict[str, dict[str, str]] | None = None,
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
            self._build_teachers(teachers or {})
            self._build_terms(_term_configs(method, terms))
        models = {STUDENT: self.student} | {name: t.model for name, t in self.teachers.items()}
        configs = {STUDENT: preprocessor_config(student)}
        configs |= {name: preprocessor_config((teachers or {})[name]) for name in self.teachers}
        self.data_preprocessor = BranchPreprocessor(
            {name: model.data_preprocessor for name, model in models.items()}, configs, branches
        )
        self.progress = 0.0

    def _build_teachers(self, configs: dict[str, dict]) -> None:
        for name, config in configs.items():
            if name == STUDENT:
                raise UserError("this name is the student's", f"model.teachers.{name}")
            where = f"model.teachers.{name}"
            self.teachers[name] = build(TEACHERS, config, where, type="Frozen", name=name)

    def _build_terms(self, configs: list[dict]) -> None:
        terms: list[Term] = [
            build(TERMS, c, f"term {c.get('name')}", type="FeatureTerm") for c in configs
        ]
        names = [term.name for term in terms]
        if len(set(names)) < len(names):
            raise UserError(f"two terms have one name among {names}", "model.terms")
        for term in terms:
            if term.student_branch != STUDENT:
                raise UserError(
                    "the first tap is the student's", f"term {term.name}", "student:<tap>"
                )
            if term.teacher_branch not in self.teachers:
                hint = did_you_mean(term.teacher_branch, self.teachers)
                raise UserError(f"no teacher {term.teacher_branch!r}", f"term {term.name}", hint)
        self.taps = TapSet(self.student, [t.student_tap for t in terms])
        if terms:
            probe(self.student, self.taps)
        specs = {
            name: teacher.tap([t.teacher_tap for t in terms if t.teacher_branch == name])
            for name, teacher in self.teachers.items()
        }
        for term in terms:
            term.build(
                self.taps.specs[term.student_tap], specs[term.teacher_branch][term.teacher_tap]
            )
        self.terms = nn.ModuleDict({term.name: term for term in terms})

    def init_weights(self) -> None:
        """Initialise the student as stock mmdet3d does; adapters keep their construction values."""
        self.student.init_weights()

    def set_progress(self, progress: float) -> None:
        """Move every term's weight along its schedule; `progress` is in [0, 1]."""
        self.progress = progress
        for term in self.terms.values():
            term.set_progress(progress)

    def forward(self, inputs: dict, data_samples: Any = None, mode: str = "tensor") -> Any:
        """Run in the three modes of mmengine; ``predict`` and ``tensor`` are the student's own."""
        if mode == "loss":
            return self.loss(inputs, data_samples)
        return self.student(inputs, data_samples, mode=mode)

    def loss(self, inputs: dict[str, dict], data_samples: dict[str, list]) -> dict[str, Tensor]:
        """Return ``task.*`` losses of the student and ``kd.<term>.loss`` / ``.weight``."""
        samples = data_samples[STUDENT]
        context = Context.from_batch(inputs, samples, self.progress)
        self.taps.arm()
        losses = {
            f"task.{k}": v for k, v in self.student(inputs[STUDENT], samples, mode="loss").items()
        }
        student = self.taps.pop(needs_grad=torch.is_grad_enabled())
        knowledge = {
            name: teacher(inputs[name], data_samples[name])
            for name, teacher in self.teachers.items()
            if teacher.taps is not None and teacher.taps.taps
        }
        for name, term in self.terms.items():
            value = term(
                student[term.student_tap], knowledge[term.teacher_branch][term.teacher_tap], context
            )
            losses[f"kd.{name}.loss"] = value * term.weight
            losses[f"kd.{name}.weight"] = term.weight.detach()
        return losses

    def _apply(self, function: Any, recurse: bool = True) -> Distiller:
        """Move the teachers along, although they are not on the module tree."""
        super()._apply(function, recurse)
        for teacher in self.teachers.values():
            teacher.apply_to_tensors(function)
        return self


def _term_configs(method: dict | list[dict] | None, terms: list[dict] | None) -> list[dict]:
    methods = [] if method is None else method if isinstance(method, (list, tuple)) else [method]
    made: list[dict] = []
    for config in methods:
        made += build(METHODS, config, "model.method")
    return made + list(terms or [])
