"""A method's options, and where the defaults of its terms come from."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

from kd3d.core.registry import METHODS

OWN, AUTHORS, UNKNOWN = "kd3d", "the authors", "not compared"
_HIDDEN = ("type", "name", "student", "teacher", "weight", "official_parity")


def options(method: str) -> list[dict[str, Any]]:
    """Return name, default and meaning of every option of a method."""
    function = _function(method)
    meanings = _arguments(inspect.getdoc(function) or "")
    return [
        {"name": name, "default": _default(parameter), "meaning": meanings.get(name, "")}
        for name, parameter in inspect.signature(function).parameters.items()
    ]


def terms(method: str) -> list[dict[str, Any]]:
    """Return what a method compares with which weight, and whose default that is.

    Where the method has ``official_parity``, every value is set beside the authors': a default
    that is equal is theirs, another one is kd3d's.
    """
    function = _function(method)
    ours = function()
    has_parity = "official_parity" in inspect.signature(function).parameters
    theirs = {
        one.get("name"): one for one in (function(official_parity=True) if has_parity else [])
    }
    return [_term(one, theirs.get(one.get("name")), has_parity) for one in ours]


def _default(parameter: inspect.Parameter) -> Any:
    return {} if parameter.kind is parameter.VAR_KEYWORD else parameter.default


def _term(ours: dict[str, Any], theirs: dict[str, Any] | None, compared: bool) -> dict[str, Any]:
    values = {"weight": ours.get("weight", 1.0)}
    values |= {key: value for key, value in ours.items() if key not in _HIDDEN}
    settings = []
    for key, value in values.items():
        row = {"name": key, "default": value, "source": UNKNOWN}
        if compared and theirs is not None:
            published = theirs.get(key, 1.0 if key == "weight" else None)
            row["source"] = AUTHORS if published == value else OWN
            row |= {} if published == value else {"published": published}
        settings.append(row)
    return {
        "name": ours.get("name", "labels"),
        "type": ours.get("type", "FeatureTerm"),
        "student": ours.get("student", ""),
        "teacher": ours.get("teacher", ""),
        "settings": settings,
    }


def _function(method: str) -> Callable[..., list[dict[str, Any]]]:
    found: Any = METHODS.get(method)
    assert found is not None, "the method is registered"
    return found


def _arguments(text: str) -> dict[str, str]:
    """Return name -> meaning of a docstring's ``Args``."""
    _, _, part = text.partition("\nArgs:\n")
    part = re.split(r"\n\S", part)[0]
    found: dict[str, str] = {}
    name = ""
    for line in part.splitlines():
        match = re.match(r"^    \*{0,2}(\w+): (.*)$", line)
        if match:
            name = match[1]
            found[name] = match[2]
        elif name:
            found[name] += " " + line.strip()
    return {key: " ".join(value.split()) for key, value in found.items()}
