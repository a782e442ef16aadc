"""Methods that run on a pair, best first, each with the rules that speak for or against it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kd3d.advice.facts import Facts
from kd3d.advice.fit import Fit
from kd3d.advice.record import Record
from kd3d.advice.rules import Rule, read_rules


@dataclass(frozen=True)
class Ranked:
    """A method that runs.

    Attributes:
        fit: The method and its options.
        points: Sum of its rules' points.
        rules: Those that hold.
        record: What was measured of it here.
    """

    fit: Fit
    points: float
    rules: tuple[Rule, ...]
    record: Record


def rank(
    fits: Sequence[Fit],
    facts: Facts,
    record_of: Callable[[str], Record],
    rules: Sequence[Rule] | None = None,
) -> list[Ranked]:
    """Return the methods that run, by points, then by the gain measured here, then by name.

    Args:
        fits: Of all methods.
        facts: Of the pair.
        record_of: Method -> what was measured of it.
        rules: Another table than the shipped one.
    """
    table = read_rules() if rules is None else rules
    found = []
    for fit in fits:
        if fit.reason is None:
            record = record_of(fit.name)
            held = tuple(rule for rule in table if rule.holds(facts, fit.card, record))
            found.append(Ranked(fit, sum(rule.points for rule in held), held, record))
    return sorted(found, key=lambda one: (-one.points, -(one.record.gain or 0.0), one.fit.name))
