"""Losses, masks, adapters and schedules as rows, found by looking at the packages."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import kd3d.adapters
import kd3d.losses
import kd3d.masks
import kd3d.methods
from kd3d.core.schedules import SCHEDULES
from kd3d.core.term import MASKS

SOURCES = ("logit", "feature", "similarity")  # of knowledge; folders of losses are named so


def loss_rows() -> list[dict[str, Any]]:
    """Return a row a public function of `kd3d.losses`; its source is the folder."""
    names = kd3d.losses.FEATURE_LOSSES
    rows = []
    for name, member in _functions(kd3d.losses):
        folder = member.__module__.split(".")[2]
        how = f"loss='{name}'" if names.get(name) is member else ""
        rows.append(_row(name, member, how) | {"source": [folder]})
    return [row for row in rows if row["source"][0] in _folders(kd3d.losses)]


def mask_rows() -> list[dict[str, Any]]:
    """Return a row a public function of `kd3d.masks`."""
    known = {function: kind for kind, function in MASKS.items()}
    return [
        _row(name, member, f"mask=dict(type='{known[member]}')" if member in known else "")
        for name, member in _functions(kd3d.masks)
    ]


def adapter_rows() -> list[dict[str, Any]]:
    """Return a row a public class or function of `kd3d.adapters`."""
    return [
        _row(name, member, "adapter=dict(...)" if name == "FeatureAdapter" else "")
        for name, member in _functions(kd3d.adapters, classes=True)
    ]


def schedule_rows() -> list[dict[str, Any]]:
    """Return a row a schedule of a term's weight."""
    return [
        {
            "name": name,
            "config": f"weight=dict(type='{name}', ...)",
            "arguments": ", ".join(inspect.signature(function).parameters),
            "meaning": _first_sentence(function),
        }
        for name, function in SCHEDULES.items()
    ]


def _row(name: str, member: Callable[..., Any], config: str) -> dict[str, Any]:
    return {
        "name": name,
        "config": config,
        "module": member.__module__.removeprefix("kd3d."),
        "methods": sorted(users(member)),
        "meaning": _first_sentence(member),
    }


def users(member: Any) -> Iterator[str]:
    """Yield the methods whose files import a function or class."""
    for module in pkgutil.iter_modules(kd3d.methods.__path__):
        found = importlib.import_module(f"{kd3d.methods.__name__}.{module.name}")
        if any(value is member for value in vars(found).values()):
            yield module.name


def _functions(package: ModuleType, classes: bool = False) -> Iterator[tuple[str, Any]]:
    """Yield name and function (and class) of what a package's modules define and do not hide."""
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        module = importlib.import_module(found.name)
        for name, member in vars(module).items():
            kind = inspect.isfunction(member) or (classes and inspect.isclass(member))
            if kind and not name.startswith("_") and member.__module__ == module.__name__:
                yield name, member


def _folders(package: ModuleType) -> set[str]:
    return {one.name for one in pkgutil.iter_modules(package.__path__) if one.ispkg}


def _first_sentence(member: Any) -> str:
    text = " ".join((inspect.getdoc(member) or "").split("\n\n")[0].split())
    return text.rstrip(".")
