"""Registries of what a config can name."""

from __future__ import annotations

from typing import Any

from mmengine.registry import Registry

from kd3d.errors import UserError, did_you_mean

METHODS = Registry("kd3d method")
TERMS = Registry("kd3d term")
TEACHERS = Registry("kd3d teacher")
LABELS = Registry("kd3d label source")
INHERITANCES = Registry("kd3d inheritance")


def build(registry: Registry, config: dict[str, Any], where: str, **defaults: Any) -> Any:
    """Build `config` from `registry`; an unknown type or argument is a `UserError`.

    Args:
        registry: Where ``config["type"]`` is looked up.
        config: ``dict(type=..., **arguments)``.
        where: Config key for the message.
        **defaults: Arguments used where the config has none.
    """
    arguments = {**defaults, **config}
    name = arguments.pop("type", None)
    made = registry.get(name) if isinstance(name, str) else None
    if made is None:
        known = registry.module_dict
        raise UserError(f"unknown {registry.name} {name!r}", where, did_you_mean(str(name), known))
    try:
        return made(**arguments)
    except TypeError as error:
        if "argument" not in str(error):
            raise
        raise UserError(f"{name}: {error}", where) from error
