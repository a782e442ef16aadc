"""Stock mmdet3d configs of changed detectors, as files that mmdet3d reads without a distiller."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.registry import Registry

from kd3d.errors import UserError
from kd3d.fileio import write_text
from kd3d.models.shrink import Model
from kd3d.models.source import resolve_detector


def stock_model(config: Config) -> Model:
    """Return the stock model dict of a config: its own, or its student's."""
    model = config.model
    return resolve_detector(model.student if model["type"] == "Distiller" else model)


def with_model(config: Config, model: Model) -> Config:
    """Return a copy of `config` that trains `model`, a changed version of its stock model.

    What the config's data need of kd3d (such as ``PadVelocity``) is named in ``custom_imports``,
    so that mmdet3d finds it where kd3d is installed; a stock config gets none.
    """
    config = config.copy()
    for key in ("work_dir", "seeded_data", "views"):
        config.pop(key, None)
    sizes = [_voxel_size(m) for m in (stock_model(config), model)]
    if config.get("voxel_size") == sizes[0]:
        config.voxel_size = sizes[1]
    config.model = ConfigDict(model)
    modules = sorted(set(_of_kd3d(config)))
    if modules:
        before = config.get("custom_imports") or {}
        config.custom_imports = dict(
            imports=[*before.get("imports", []), *modules], allow_failed_imports=False
        )
    return config


def write_config(path: str | Path, config: Config, comment: str) -> None:
    """Write a config as a Python file, whole or not at all.

    Raises:
        UserError: The target is a folder, or is the file that `config` was read from.
    """
    path = Path(path)
    if path.is_dir() or path.suffix != ".py":
        raise UserError("wanted the name of a .py file", path)
    if config.filename and path.exists() and path.samefile(config.filename):
        raise UserError("that is the config itself", path, "give another --out")
    write_text(path, f"# {comment}\n{config.pretty_text}")


def _voxel_size(model: Model) -> list[float] | None:
    layer = (model.get("data_preprocessor") or {}).get("voxel_layer") or {}
    return list(layer["voxel_size"]) if "voxel_size" in layer else None


def _of_kd3d(config: Config) -> Iterator[str]:
    """Yield the kd3d modules that define a type used in a config."""
    from mmdet3d import registry as mmdet3d

    from kd3d.engine.register import register_all

    register_all()
    registries = [r for r in vars(mmdet3d).values() if isinstance(r, Registry)]
    for name in _types(config.to_dict()):
        for registry in registries:
            found = registry.module_dict.get(name)
            if found is not None and found.__module__.startswith("kd3d."):
                yield found.__module__


def _types(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("type"), str):
            yield value["type"]
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _types(item)
