"""Which methods run on a pair, and in words and metres why the others do not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from kd3d.core.card import MethodCard
from kd3d.core.compatibility import AGREEMENTS, Offer, agreements, refusal


@dataclass(frozen=True)
class Fit:
    """A method on a pair.

    Attributes:
        name: The method's.
        method: Its config, with the options that fit.
        card: Its card.
        reason: Why it does not run; None: it does.
    """

    name: str
    method: dict[str, Any]
    card: MethodCard
    reason: str | None


def fit_of(card: MethodCard, student: Offer, teacher: Offer) -> Fit:
    """Return how a method fits: as its card's default, or the first variant that runs."""
    forms = list(card.forms.values())
    for method, form in forms:
        if refusal(form, student, teacher) is None:
            return Fit(card.name, method, card, None)
    reason = refusal(card, student, teacher) or ""
    more = "; ".join(filter(None, _details(card, student, teacher)))
    return Fit(card.name, forms[0][0], card, f"{reason} ({more})" if more else reason)


def fits(cards: Iterable[MethodCard], student: Offer, teacher: Offer) -> list[Fit]:
    """Return `fit_of` of every method."""
    return [fit_of(card, student, teacher) for card in cards]


def _details(card: MethodCard, student: Offer, teacher: Offer) -> Iterable[str]:
    """Yield what the two sides have of the first thing that is missing."""
    reason = refusal(card, student, teacher) or ""
    if reason.startswith(("the student has no", "the teacher has no")):
        side = student if reason.startswith("the student") else teacher
        yield f"it has {', '.join(sorted(side.taps))}"
    elif "head is a" in reason:
        yield f"it works with {' and '.join(card.heads)}"
    for name in agreements(card):
        if reason == f"it needs {AGREEMENTS[name]}":
            yield _sides(name, student, teacher)


def _sides(agreement: str, student: Offer, teacher: Offer) -> str:
    if agreement == "voxels":
        return f"the student's voxels {_voxels(student)}, the teacher's {_voxels(teacher)}"
    if agreement == "stages":
        return f"the student has {student.stages}, the teacher {teacher.stages}"
    ours, theirs = (one.output or "none" for one in (student, teacher))
    return f"the student's head: {ours}; the teacher's: {theirs}"


def _voxels(offer: Offer) -> str:
    if offer.voxels is None:
        return "are none"
    (x_min, y_min, x_max, y_max), (rows, columns) = offer.voxels
    edge = f"{(x_max - x_min) / columns:.3g} x {(y_max - y_min) / rows:.3g} m"
    return f"are {edge} over x {x_min:g}..{x_max:g}, y {y_min:g}..{y_max:g} m"
