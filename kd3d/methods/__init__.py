"""One file a paper: a card, and a function that returns the terms of the method."""

from __future__ import annotations

import importlib
import pkgutil

from kd3d.core.card import MethodCard


def cards() -> dict[str, MethodCard]:
    """Return name -> card of every method of this package."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        card = importlib.import_module(f"{__name__}.{module.name}").CARD
        found[card.name] = card
    return found
