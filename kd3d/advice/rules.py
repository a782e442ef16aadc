"""The table of rules, and what it says of a method on a pair."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kd3d.advice.facts import Facts
from kd3d.advice.record import Record
from kd3d.core.card import MethodCard
from kd3d.errors import UserError, did_you_mean

TABLE = Path(__file__).with_name("rules.yaml")
KEYS = ("rule", "when", "method", "points", "why", "source")
WHEN = ("gap", "heads", "grids", "capacity", "labels")
METHOD = (
    "route", "source", "algorithm", "needs", "without", "status", "name", "measured", "step",
)  # fmt: skip


@dataclass(frozen=True)
class Rule:
    """One row of the table; see ``rules.yaml``."""

    rule: str
    points: float
    why: str
    source: str
    method: dict[str, Any]
    when: dict[str, Any]

    def holds(self, facts: Facts, card: MethodCard, record: Record) -> bool:
        """Whether the rule adds its points to a method on a pair."""
        pair = all(getattr(facts, key) in _any(wanted) for key, wanted in self.when.items())
        return pair and all(
            _holds(key, set(_any(wanted)), facts, card, record)
            for key, wanted in self.method.items()
        )


@functools.cache
def read_rules(path: Path = TABLE) -> tuple[Rule, ...]:
    """Return the rules of a table.

    Raises:
        UserError: An unknown key, or a rule without points, reason or source.
    """
    import yaml

    rules = []
    for row in yaml.safe_load(path.read_text(encoding="utf-8")):
        where = f"{path.name}, {row.get('rule')}"
        given = {**dict.fromkeys(row, KEYS), **dict.fromkeys(row.get("when") or {}, WHEN)}
        for key, known in {**given, **dict.fromkeys(row.get("method") or {}, METHOD)}.items():
            if key not in known:
                raise UserError(f"unknown key {key!r}", where, did_you_mean(key, known))
        missing = [key for key in ("rule", "points", "why", "source") if row.get(key) is None]
        if missing:
            raise UserError(f"it has no {missing[0]}", where)
        rules.append(Rule(**{"when": {}, "method": {}} | row))
    return tuple(rules)


def route_kind(card: MethodCard, route: str) -> str:
    """Return ``pair``, ``3d`` or ``image``: what a method was published for, seen from a pair."""
    if route in card.routes:
        return "pair"
    return "image" if all(one == "image to image" for one in card.routes) else "3d"


def _holds(key: str, wanted: set[str], facts: Facts, card: MethodCard, record: Record) -> bool:
    columns: dict[str, set[str]] = {
        "route": {route_kind(card, facts.route)},
        "source": set(card.source),
        "algorithm": set(card.algorithm),
        "needs": set(card.needs),
        "status": set(card.status),
        "name": {card.name},
        "measured": {record.measured},
        "step": {record.step},
    }
    if key == "without":
        return not wanted & columns["needs"]
    return bool(wanted & columns[key])


def _any(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
