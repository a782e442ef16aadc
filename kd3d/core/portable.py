"""Checkpoints whose root keys are the stock detector's, with everything of kd3d under ``kd.``."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn

STUDENT_PREFIX = "student."
EXTRA_PREFIX = "kd."
TEACHER_PREFIX = EXTRA_PREFIX + "teachers."
PEER_PREFIX = EXTRA_PREFIX + "peers."


def install(module: nn.Module) -> None:
    """Register the state-dict hooks on a distiller.

    Saving moves ``student.*`` to the root and every other key under ``kd.``, and adds what
    teachers that change must keep (``kd.teachers.<name>.*``); loading does the reverse, so a stock
    detector's checkpoint loads as the student. mmengine loads through its own
    recursion and never calls an overridden ``load_state_dict``; hooks it honours.
    """
    module._register_state_dict_hook(_on_save)
    module._register_load_state_dict_pre_hook(_on_load, with_module=True)


def _on_save(module: nn.Module, state: dict[str, Tensor], prefix: str, metadata: Any) -> None:
    _rename(state, prefix, _portable_key)
    if hasattr(state, "_metadata"):
        _rename(
            state._metadata,
            prefix,
            lambda key: _portable_key(key + ".").rstrip(".") if key else key,
        )
    for name, teacher in module.teachers.items():  # type: ignore[operator, union-attr]
        start, kept = f"{prefix}{TEACHER_PREFIX}{name}.", teacher.state()
        state.update({start + key: value for key, value in kept.items()})
        if hasattr(state, "_metadata"):
            versions = getattr(kept, "_metadata", {})
            state._metadata.update({start + key: value for key, value in versions.items()})


def _on_load(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    for name, teacher in module.teachers.items():  # type: ignore[operator, union-attr]
        start = f"{prefix}{TEACHER_PREFIX}{name}."
        found = {k[len(start) :]: state.pop(k) for k in list(state) if k.startswith(start)}
        if found:
            teacher.load_state(found)
    _rename(state, prefix, _module_key)
    metadata = getattr(state, "_metadata", {})  # the loader's own: entries are added, none moved
    for key in list(metadata):
        if key.startswith(prefix):
            metadata.setdefault(prefix + _module_key(key[len(prefix) :]), metadata[key])


def _rename(state: dict, prefix: str, rename: Any) -> None:
    for key in [k for k in state if k.startswith(prefix)]:
        value = state.pop(key)
        state[prefix + rename(key[len(prefix) :])] = value


def _portable_key(key: str) -> str:
    if key.startswith(STUDENT_PREFIX):
        return key[len(STUDENT_PREFIX) :]
    return EXTRA_PREFIX + key


def _module_key(key: str) -> str:
    if key.startswith(EXTRA_PREFIX):
        return key[len(EXTRA_PREFIX) :]
    return key if key.startswith(STUDENT_PREFIX) else STUDENT_PREFIX + key


def student_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the stock detector's part of a saved state, as plain CPU tensors."""
    return _part(state, lambda key: None if key.startswith(EXTRA_PREFIX) else key)


def state_under(state: dict[str, Tensor], start: str) -> dict[str, Tensor]:
    """Return the part of a saved state whose keys begin with `start`, without it."""
    return _part(state, lambda key: key[len(start) :] if key.startswith(start) else None)


def _part(
    state: dict[str, Tensor], renamed: Callable[[str], str | None]
) -> OrderedDict[str, Tensor]:
    """Return what has a new name, and its metadata, by which sparse layers know their version."""
    names = {key: renamed(key) for key in state}
    found: OrderedDict[str, Tensor] = OrderedDict(
        (name, state[key].detach().cpu().clone()) for key, name in names.items() if name is not None
    )
    modules = {key: renamed(key + ".") for key in getattr(state, "_metadata", {})}
    metadata = {
        name.rstrip("."): state._metadata[key]  # type: ignore[attr-defined]
        for key, name in modules.items()
        if name is not None
    }
    found._metadata = OrderedDict(metadata)  # type: ignore[attr-defined]
    return found


def key_report(expected: dict[str, Tensor], found: dict[str, Tensor], limit: int = 3) -> str | None:
    """Return one sentence on how two state dicts differ, or None if keys and shapes agree."""
    missing = sorted(set(expected) - set(found))
    extra = sorted(set(found) - set(expected))
    shapes = [
        f"{key} is {tuple(found[key].shape)}, the model wants {tuple(expected[key].shape)}"
        for key in sorted(set(expected) & set(found))
        if expected[key].shape != found[key].shape
    ]
    if not (missing or extra or shapes):
        return None
    parts = [
        _listed("missing", missing, limit),
        _listed("unexpected", extra, limit),
        _listed("shape", shapes, limit),
    ]
    return "; ".join(part for part in parts if part)


def _listed(word: str, items: Iterable[str], limit: int) -> str:
    items = list(items)
    if not items:
        return ""
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return f"{len(items)} {word}: " + ", ".join(items[:limit]) + more
