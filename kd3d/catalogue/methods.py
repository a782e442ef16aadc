"""Methods as rows of the survey's taxonomy."""

from __future__ import annotations

from typing import Any

from kd3d.core.card import MethodCard
from kd3d.errors import UserError, did_you_mean

FILTERS = ("source", "scheme", "algorithm", "modality", "needs", "without")
IMITATION = "imitation"  # the algorithm of a card that names none


def method_rows(cards: list[MethodCard]) -> list[dict[str, Any]]:
    """Return a row a method, in the order of the cards."""
    return [
        {
            "name": card.name,
            "source": list(card.source),
            "scheme": list(card.schemes),
            "algorithm": list(card.algorithm) or [IMITATION],
            "modality": list(card.routes),
            "needs": list(card.needs),
            "heads": list(card.heads),
            "status": list(card.status),
            "venue": card.venue,
        }
        for card in cards
    ]


def sensors(route: str) -> set[str]:
    """Return the route itself, its two sides and their sensors, by which it can be found."""
    sides = route.split(" to ")
    return {route, *sides, *(sensor for side in sides for sensor in side.split("+"))}


def chosen(rows: list[dict[str, Any]], filters: dict[str, list[str]]) -> list[dict[str, Any]]:
    """Return the rows that have every wanted value.

    Args:
        rows: Of any kind.
        filters: Column -> wanted values; ``without`` names needs that a method must not have.

    Raises:
        UserError: A column that these rows have not, or a value that no row has.
    """
    for column, wanted in filters.items():
        of = "needs" if column == "without" else column
        if not wanted:
            continue
        if rows and of not in rows[0]:
            have = ", ".join(f"--{name}" for name in FILTERS if name in rows[0]) or "no filter"
            raise UserError("these have no such column", f"--{column}", have)
        known = {value for row in rows for value in _values(row, of)}
        for value in wanted:
            if value not in known:
                raise UserError(f"nothing has {value!r}", f"--{column}", did_you_mean(value, known))
    for column, wanted in filters.items():
        if column == "without":
            rows = [row for row in rows if not set(wanted) & _values(row, "needs")]
        else:
            rows = [row for row in rows if set(wanted) <= _values(row, column)]
    return rows


def _values(row: dict[str, Any], column: str) -> set[str]:
    value = row.get(column, [])
    values = {value} if isinstance(value, str) else set(value)
    if column == "modality":
        return {found for route in values for found in sensors(route)}
    return values
