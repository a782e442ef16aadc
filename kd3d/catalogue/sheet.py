"""All that is known of one method, as plain data."""

from __future__ import annotations

from typing import Any

from kd3d.catalogue import defaults, results
from kd3d.catalogue.methods import method_rows
from kd3d.core.card import MethodCard
from kd3d.core.compatibility import AGREEMENTS, agreements


def sheet(card: MethodCard) -> dict[str, Any]:
    """Return a method's card, its options and terms, and its results.

    Args:
        card: Of a registered method.
    """
    terms = defaults.terms(card.name)
    return {
        **method_rows([card])[0],
        "title": card.title,
        "paper": card.paper,
        "idea": card.idea,
        "equation": card.equation,
        "both_models": [AGREEMENTS[name] for name in agreements(card)],
        "taps": [{key: one[key] for key in ("name", "student", "teacher")} for one in terms],
        "options": defaults.options(card.name),
        "terms": terms,
        "published": results.published(card.name),
        "measured": results.measured(card.name),
        "differences": list(card.differences),
    }
