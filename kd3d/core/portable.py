"""Checkpoints whose root keys are the stock detector's, with everything of kd3d under ``kd.``."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from operator import add
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
        start = f"{prefix}{TEACHER_PREFIX}{name}."
        kept = part(teacher.state(), partial(add, start))
        state.update(kept)
        if hasattr(state, "_metadata"):
            state._metadata.update(getattr(kept, "_metadata", {}))


def _on_load(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    for name, teacher in module.teachers.items():  # type: ignore[operator, union-attr]
        start = f"{prefix}{TEACHER_PREFIX}{name}."
        found = part(state, _without(start))
        for key in [key for key in state if key.startswith(start)]:
            state.pop(key)
        if found:
            teacher.load_state(found)
    _rename(state, prefix, _module_key)
    versions = getattr(state, "_metadata", {})  # the loader's own: it may only grow
    for key in [k for k in versions if k.startswith(prefix) and k]:
        path = _module_key(key[len(prefix) :] + ".").rstrip(".")
        versions.setdefault(prefix + path, versions[key])


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


def student_state(state: dict[str, Tensor]) -> OrderedDict[str, Tensor]:
    """Return the stock detector's part of a saved state, as plain CPU tensors."""
    return _plain(part(state, lambda key: None if key.startswith(EXTRA_PREFIX) else key))


def state_under(state: dict[str, Tensor], start: str) -> OrderedDict[str, Tensor]:
    """Return the part of a saved state whose keys begin with `start`, without it."""
    return _plain(part(state, _without(start)))


def part(state: dict[str, Tensor], rename: Callable[[str], str | None]) -> OrderedDict[str, Tensor]:
    """Return the entries of a state dict that `rename` gives a new key, none for those left out.

    The versions that modules note beside their weights come along: without them mmdet3d takes the
    weights of spconv's layers for the older layout and turns them.
    """
    found = OrderedDict((rename(key), value) for key, value in state.items())
    found.pop(None, None)  # type: ignore[call-overload]
    versions = getattr(state, "_metadata", {})
    renamed = {rename(f"{key}." if key else key): value for key, value in versions.items()}
    found._metadata = OrderedDict(  # type: ignore[attr-defined]
        (key.rstrip("."), value) for key, value in renamed.items() if key is not None
    )
    return found  # type: ignore[return-value]


def _without(start: str) -> Callable[[str], str | None]:
    return lambda key: key[len(start) :] if key.startswith(start) else None


def _plain(state: OrderedDict[str, Tensor]) -> OrderedDict[str, Tensor]:
    for key, value in state.items():
        state[key] = value.detach().cpu().clone()
    return state


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
