"""From methods to terms, and whether each term's two sides exist."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from kd3d.core.branches import STUDENT
from kd3d.core.registry import METHODS, build
from kd3d.core.taps import DECODED
from kd3d.core.term import Term, split_tap
from kd3d.errors import UserError, did_you_mean


def term_configs(
    method: dict | list[dict] | None, terms: list[dict] | None, peers: list[str]
) -> list[dict]:
    """Return the terms' configs: the methods', the further ones, and the peers' mirrored ones.

    A term in which a peer teaches the student also holds the other way round, as
    ``<name>_to_<peer>``.
    """
    methods = [] if method is None else method if isinstance(method, (list, tuple)) else [method]
    made: list[dict] = []
    for config in methods:
        made += build(METHODS, config, "model.method")
    made += list(terms or [])
    return made + [mirrored for config in made for mirrored in _mirrored(config, peers)]


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
        if sides == [term.teacher_branch, term.teacher_tap]:
            raise UserError("student and teacher are one tap", where)


def further_taps(term: Term) -> list[tuple[str, str]]:
    """Return (model, tap) of the further taps that a term reads."""
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
