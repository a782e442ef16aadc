"""What flows where in a config's distillation, as plain facts."""

from __future__ import annotations

import inspect
from dataclasses import asdict, dataclass, field
from typing import Any

from mmengine.config import Config
from torch import nn

from kd3d.adapters import FeatureAdapter
from kd3d.core.branches import STUDENT
from kd3d.core.card import MethodCard
from kd3d.core.distiller import Distiller
from kd3d.core.registry import METHODS, build
from kd3d.core.sentences import further_taps
from kd3d.core.spec import FeatureSpec
from kd3d.evaluation.efficiency import parameters
from kd3d.inspection.detectors import DISTILLER, reads
from kd3d.inspection.trial import build_distiller
from kd3d.methods import cards

PLAIN = "L = sum_i m_i d(a(s_i), t_i) / sum_i m_i"  # of a term that no method brought
_HIDDEN = ("type", "name", "student", "teacher", "weight", "loss", "mask", "adapter")


@dataclass(frozen=True)
class ModelFlow:
    """A model of the experiment.

    Attributes:
        name: As terms call it.
        kind: ``student``, or the teacher's type.
        detectors: Types of the detectors that it runs.
        reads: Its sensors.
        parameters: Of all its detectors.
        trained: How many of them are trained.
        taps: Tap -> what it holds, in words.
    """

    name: str
    kind: str
    detectors: list[str]
    reads: list[str]
    parameters: int
    trained: int
    taps: dict[str, str]


@dataclass(frozen=True)
class TermFlow:
    """A term.

    Attributes:
        name: Its key in logs.
        method: The method that brought it; empty: the config's own.
        title: The method's paper.
        equation: Of the method; it may cover several terms.
        student: (model, tap).
        teacher: (model, tap).
        further: Further taps that it reads, ``model:tap``.
        adapter: What happens to the student's side.
        resample: What happens to the teacher's side.
        mask: Where it looks.
        loss: What it compares by.
        weight: Number or schedule, in words.
        trained: Parameters that it trains.
        settings: Its other options.
    """

    name: str
    method: str
    title: str
    equation: str
    student: tuple[str, str]
    teacher: tuple[str, str]
    further: list[str]
    adapter: str
    resample: str
    mask: str
    loss: str
    weight: str
    trained: int
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Flow:
    """An experiment.

    Attributes:
        title: The config's name.
        models: Student first.
        terms: In the order of the distiller.
        labels: Label sources: whose boxes join whose ground truth, in words.
        inherits: What the student takes over, in words.
        task_weight: Factor on the detection losses.
        balance: Automatic weights, in words; empty for none.
    """

    title: str
    models: list[ModelFlow]
    terms: list[TermFlow]
    labels: list[str]
    inherits: list[str]
    task_weight: float
    balance: str

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def flow_of(config: Config) -> Flow:
    """Return the data flow of a config; its detectors are built, weights and data not needed.

    Raises:
        UserError: As the distiller.
    """
    distiller = build_distiller(config, untrained=True)
    model = config.model.to_dict()
    model = model if model["type"] == DISTILLER else dict(student=model)
    made = terms_made(model)
    return Flow(
        title=str(config.filename or "config"),
        models=_models(distiller, model),
        terms=[_term(distiller, name, *made.get(name, ({}, None))) for name in distiller.terms],
        labels=[
            f"boxes of {one.teacher_branch} with scores above {one.score} join the labels of "
            f"{one.learner}"
            for one in distiller.labels
        ],
        inherits=[_inherit(one) for one in _listed(model.get("inherit"))],
        task_weight=distiller.task_weight,
        balance=str(model.get("balance") or ""),
    )


def _models(distiller: Distiller, model: dict[str, Any]) -> list[ModelFlow]:
    found = [_model(STUDENT, "student", [distiller.student], distiller.taps[STUDENT].specs, True)]
    for name, teacher in distiller.teachers.items():
        kind = (model.get("teachers") or {})[name].get("type", "Frozen")
        specs = _specs(distiller, name)
        found.append(_model(name, kind, list(teacher.branches.values()), specs, teacher.trains))
    return found


def _model(
    name: str, kind: str, detectors: list[Any], specs: dict[str, FeatureSpec], trains: bool
) -> ModelFlow:
    count = sum(map(parameters, detectors))
    trained = sum(p.numel() for d in detectors for p in d.parameters() if p.requires_grad)
    return ModelFlow(
        name, kind, [type(d).__name__ for d in detectors], sorted(set(map(reads, detectors))),
        count, trained if trains else 0, {tap: str(spec) for tap, spec in specs.items()},
    )  # fmt: skip


def _specs(distiller: Distiller, name: str) -> dict[str, FeatureSpec]:
    """Return the taps of a teacher that are read; an ensemble's also of its members."""
    teacher = distiller.teachers[name]
    if teacher.trains:
        return distiller.taps[name].specs
    return teacher.tap(teacher.wanted) if teacher.wanted else {}


def terms_made(model: dict[str, Any]) -> dict[str, tuple[dict[str, Any], MethodCard | None]]:
    """Return term name -> its config and its method's card."""
    known = cards()
    found: dict[str, tuple[dict[str, Any], MethodCard | None]] = {}
    for config in _listed(model.get("method")):
        for one in build(METHODS, config, "model.method"):
            found[str(one.get("name"))] = (one, known.get(config["type"]))
    for one in _listed(model.get("terms")):
        found[str(one.get("name"))] = (one, None)
    for name, (one, card) in list(found.items()):  # a peer's mirrored terms
        for peer in model.get("teachers") or {}:
            found.setdefault(f"{name}_to_{peer}", (one, card))
    return found


def _term(
    distiller: Distiller, name: str, config: dict[str, Any], card: MethodCard | None
) -> TermFlow:
    term = distiller.terms[name]
    adapters = [m for m in term.modules() if isinstance(m, FeatureAdapter)]
    moved = [a for a in adapters if a.resample is not None]
    trained = sum(p.numel() for p in term.parameters() if p.requires_grad)
    projection = "; ".join(dict.fromkeys(_projection(a.project) for a in adapters))
    own = f"{trained:,} parameters of the term" if trained else "no adapter"
    return TermFlow(
        name=name,
        method=card.name if card else "",
        title=f"{card.title}, {card.venue}" if card else "",
        equation=card.equation if card else PLAIN,
        student=(term.student_branch, term.student_tap),
        teacher=(term.teacher_branch, term.teacher_tap),
        further=[f"{branch}:{tap}" for branch, tap in further_taps(term)],
        adapter=projection or own,
        resample="resampled to the student's cells" if moved else "",
        mask=_mask(term, card),
        loss=_loss(term),
        weight=_weight(config.get("weight", 1.0)),
        trained=trained,
        settings={k: v for k, v in config.items() if k not in _HIDDEN and v is not None},
    )


def _projection(module: nn.Module) -> str:
    shapes = [tuple(p.shape) for p in module.parameters() if p.dim() > 1]
    if not shapes:
        return "as it is"
    kinds = {2: "linear layer", 3: "convolution over points", 4: "convolution"}
    told = []
    for shape in shapes:
        size = f"{shape[2]}x{shape[3]} " if len(shape) == 4 else ""
        told.append(f"{size}{kinds.get(len(shape), 'layer')} {shape[1]} to {shape[0]} channels")
    return ", ".join(told)


def _mask(term: Any, card: MethodCard | None) -> str:
    given = getattr(term, "mask_options", None)
    if given is not None:
        options = ", ".join(f"{key}={value}" for key, value in given.items())
        told = f"{term.mask_type} of the labelled boxes{f' ({options})' if options else ''}"
        return told + (", the teacher's boxes among them" if term.joined else "")
    if card is not None and "gt_boxes" in card.needs:
        return "by the labelled boxes, as the equation says"
    return "none"


def _loss(term: Any) -> str:
    function = getattr(term, "loss", None)
    if callable(function):
        return function.__name__.replace("_", " ")
    told = (inspect.getdoc(type(term)) or type(term).__name__).split("\n")[0]
    return told.split(";")[0].rstrip(".")


def _weight(weight: float | dict[str, Any]) -> str:
    if not isinstance(weight, dict):
        return f"{weight:g}"
    options = ", ".join(f"{key} {value}" for key, value in weight.items() if key != "type")
    return f"{weight['type']} ({options})"


def _inherit(config: dict[str, Any]) -> str:
    teacher = config.get("teacher", "")
    where = teacher if isinstance(teacher, str) else teacher.get("config", "a detector")
    parts = ", ".join(config.get("parts") or ["all parts"])
    return f"{config['type']} from {where}: {parts}"


def _listed(value: Any) -> list[dict[str, Any]]:
    if not value:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]
