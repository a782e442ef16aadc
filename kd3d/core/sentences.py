"""From methods to terms and labels, and whether what they read exists."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from kd3d.core.branches import STUDENT
from kd3d.core.labels import TeacherLabels
from kd3d.core.registry import LABELS, METHODS, TERMS, build
from kd3d.core.taps import DECODED
from kd3d.core.term import Term, split_tap
from kd3d.errors import UserError, did_you_mean

Some = dict | list[dict] | None  # one config, several, or none


def sentences(
    method: Some, terms: Some, labels: Some, peers: list[str]
) -> tuple[list[Term], list[TeacherLabels]]:
    """Build the terms and label sources: the methods', the further ones, the peers' mirrored ones.

    A term in which a peer teaches the student also holds the other way round, as
    ``<name>_to_<peer>``. A term's `joined` is set where a label source names it.

    Raises:
        UserError: Unknown methods, terms, options or names.
    """
    made: list[dict] = []
    for config in _listed(method):
        made += build(METHODS, config, "model.method")
    sources = [config for config in made if config.get("type") in LABELS.module_dict]
    sources += [{"type": "TeacherLabels", **config} for config in _listed(labels)]
    made = [config for config in made if config.get("type") not in LABELS.module_dict]
    made += _listed(terms)
    made += [mirrored for config in made for mirrored in _mirrored(config, peers)]
    built = [build(TERMS, c, f"term {c.get('name')}", type="FeatureTerm") for c in made]
    labelled = [build(LABELS, config, "model.labels") for config in sources]
    for source in labelled:
        _mark_joined(built, source)
    return built, labelled


def _listed(configs: Some) -> list[dict]:
    if configs is None:
        return []
    return list(configs) if isinstance(configs, (list, tuple)) else [configs]


def _mark_joined(terms: list[Term], source: TeacherLabels) -> None:
    own = {term.name: term for term in terms if term.student_branch == source.learner}
    for name in source.terms:
        if name not in own:
            hint = did_you_mean(name, own)
            where = f"labels {source.name}"
            raise UserError(f"no term {name!r} teaches the {source.learner}", where, hint)
        own[name].joined = True


def check_labels(sources: list[TeacherLabels], learners: list[str], teachers: list[str]) -> None:
    """Raise UserError where a label source's name is taken, or its models are not there.

    Args:
        sources: The label sources.
        learners: Names of what is trained.
        teachers: Names of the teachers that are not trained; a peer's boxes are known too late.
    """
    names = [source.name for source in sources]
    if len(set(names)) < len(names):
        raise UserError(f"two label sources have one name among {names}", "model.labels")
    for source in sources:
        where = f"labels {source.name}"
        if source.learner not in learners:
            hint = did_you_mean(source.learner, learners)
            raise UserError(f"{source.learner!r} is not trained", where, hint)
        if source.teacher_branch not in teachers:
            hint = did_you_mean(source.teacher_branch, teachers) + " A peer gives no labels."
            raise UserError(f"no teacher {source.teacher_branch!r}", where, hint)


def _mirrored(config: dict, peers: list[str]) -> list[dict]:
    name = str(config.get("name"))
    learner, own = split_tap(config["student"], name)
    teacher, other = split_tap(config["teacher"], name)
    if learner != STUDENT or teacher not in peers:
        return []
    swapped = dict(student=f"{teacher}:{other}", teacher=f"{STUDENT}:{own}")
    return [{**config, **swapped, "name": f"{name}_to_{teacher}"}]


def check_sides(terms: list[Term], learners: list[str], teachers: list[str]) -> None:
    """Raise UserError where a term's name is taken or one of its models is not there."""
    names = [term.name for term in terms]
    if len(set(names)) < len(names):
        raise UserError(f"two terms have one name among {names}", "model.terms")
    for term in terms:
        where = f"term {term.name}"
        if term.student_branch not in learners:
            hint = "student:<tap>, or an online peer"
            raise UserError(f"{term.student_branch!r} is not trained", where, hint)
        if term.teacher_branch not in teachers:
            hint = did_you_mean(term.teacher_branch, teachers)
            raise UserError(f"no teacher {term.teacher_branch!r}", where, hint)
        if term.student_tap in DECODED:
            raise UserError("decoded boxes carry no gradient", where, "tap the student's head")
        sides: list[Any] = [term.student_branch, term.student_tap]
        if sides == [term.teacher_branch, term.teacher_tap] and not term.alone:
            raise UserError("student and teacher are one tap", where)


def further_taps(term: Term | TeacherLabels) -> list[tuple[str, str]]:
    """Return (model, tap) of the further taps that a term or label source reads."""
    return [split_tap(address, term.name) for address in term.further()]


def further_values(term: Term, features: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return address -> value of a term's further taps; only its student's carry gradients."""
    found = {}
    for branch, tap in further_taps(term):
        value = features[branch][tap]
        found[f"{branch}:{tap}"] = value if branch == term.student_branch else detached(value)
    return found


def detached(value: Any) -> Any:
    """Return a tap's value without its graph."""
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, dict):
        return {key: detached(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(detached(item) for item in value)
    return value
