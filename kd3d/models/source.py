"""Where a detector comes from: a stock config by name, made smaller, or a model dict."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import re
import sys
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from mmengine.config import Config, ConfigDict
from torch import nn

import kd3d
from kd3d import compat
from kd3d.core.portable import key_report, student_state
from kd3d.errors import UserError, did_you_mean
from kd3d.models.kernels import loadable
from kd3d.models.shrink import shrink_model
from kd3d.models.zoo import fetched

_KEYS = ("config", "model", "shrink", "override")  # of a reference to a detector


def config_path(reference: str) -> Path:
    """Return the file of ``"mmdet3d::family/name.py"``, ``"kd3d::..."`` or a plain path."""
    package, separator, relative = reference.partition("::")
    if not separator:
        path = Path(reference)
    elif package == "kd3d":
        path = Path(kd3d.__file__).parents[1] / "configs" / relative
    else:
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise UserError(f"the package {package} is not installed", reference, "make setup")
        path = Path(spec.submodule_search_locations[0]) / ".mim" / "configs" / relative
    if not path.is_file():
        raise UserError("no such config", reference)
    return path


def resolve_detector(config: dict[str, Any], where: str = "model") -> dict[str, Any]:
    """Return the plain stock mmdet3d model dict that `config` stands for.

    Args:
        config: One of ``dict(type="VoxelNet", ...)``, ``dict(model=dict(type=...))`` or
            ``dict(config="mmdet3d::family/name.py" | path)``; the last two take
            ``shrink=dict(...)`` (see `kd3d.models.shrink.shrink_model`) and ``override=dict(...)``,
            merged as mmengine merges configs. The config of a distiller stands for its student.
        where: For messages.
    """
    config = copy.deepcopy(dict(config))
    if "config" not in config and "model" not in config:
        if "type" not in config:
            raise UserError("neither type, model nor config is given", where)
        return ConfigDict(config).to_dict()
    unknown = sorted(set(config) - set(_KEYS))
    if unknown:
        raise UserError(f"unknown key {unknown[0]!r}", where, did_you_mean(unknown[0], _KEYS))
    if "config" in config:
        model = Config.fromfile(config_path(config["config"])).model
        if model.get("type") == "Distiller":
            return (
                resolve_detector(model.student, where)
                if not _changes(config)
                else _changed(resolve_detector(model.student, where), config, where)
            )
        model = model.to_dict()
    else:
        model = ConfigDict(config["model"]).to_dict()
    return _changed(model, config, where)


def _changes(config: dict[str, Any]) -> bool:
    return bool(config.get("shrink") or config.get("override"))


def _changed(model: dict[str, Any], config: dict[str, Any], where: str) -> dict[str, Any]:
    if config.get("override"):
        merged = Config({"model": model})
        merged.merge_from_dict({"model": config["override"]})
        model = merged.model.to_dict()
    if config.get("shrink"):
        model = shrink_model(model, where=f"{where}.shrink", **config["shrink"])
    return model


def build_detector(config: dict[str, Any], where: str = "model") -> Any:
    """Build the stock mmdet3d detector that `config` stands for, on the CPU."""
    from mmdet3d.registry import MODELS
    from mmdet3d.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    model = resolve_detector(config, where)
    with MODELS.switch_scope_and_registry("mmdet3d") as registry:
        if registry.get(model["type"]) is None:
            raise UserError(f"mmdet3d has no detector {model['type']!r}", where)
        return compat.use_available_device(registry.build(ConfigDict(model)))


def init_weights(model: Any, where: str = "model") -> None:
    """Initialise a detector as stock mmdet3d does, pretrained parts by their ``init_cfg``.

    What mmengine prints of the files it loads goes to standard error.

    Raises:
        UserError: Pretrained weights that cannot be fetched.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            model.init_weights()
    except URLError as error:
        configs = (getattr(module, "init_cfg", None) for module in model.modules())
        wanted = [c["checkpoint"] for c in configs if isinstance(c, dict) and "checkpoint" in c]
        raise UserError(
            f"the pretrained weights {', '.join(wanted)} cannot be fetched ({error.reason})",
            where,
            f"put them into {torch.hub.get_dir()}/checkpoints, or set the part's init_cfg=None to "
            "start without them",
        ) from error


def detector_config(config: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a teacher's or student's config that is a reference to a detector."""
    if "config" in config or "model" in config:
        return {key: config[key] for key in _KEYS if key in config}
    return dict(config)


def preprocessor_config(config: dict[str, Any]) -> dict[str, Any]:
    """Return the data preprocessor's config of the detector that `config` stands for."""
    return resolve_detector(detector_config(config)).get("data_preprocessor") or {}


def load_weights(model: nn.Module, path: str | Path, where: str = "checkpoint") -> None:
    """Load a detector's checkpoint strictly; parts of kd3d in it are ignored.

    Args:
        model: The detector.
        path: A file, or ``"mmdet3d::<name>"`` of mmdet3d's model zoo; see `kd3d.models.zoo`.
        where: For messages.

    Raises:
        UserError: An unreadable file, another architecture, or weights of mmdet3d < 1.0, whose yaw
            and box sizes have another convention (they load without complaint and score near 0).
    """
    path = fetched(path)
    checkpoint = compat.load_checkpoint_file(path)
    _refuse_old_convention(checkpoint.get("meta") or {}, path)
    state = checkpoint.get("state_dict", checkpoint)
    state = loadable(model, student_state(state))
    report = key_report(model.state_dict(), state)
    if report:
        raise UserError(
            f"the weights are of another architecture than {type(model).__name__} ({report})",
            path,
            f"give the config it was trained with in {where}",
        )
    model.load_state_dict(state, strict=True)


def _refuse_old_convention(meta: dict[str, Any], path: str | Path) -> None:
    version = str(meta.get("mmdet3d_version") or "")
    if not version:
        found = re.search(r"mmdet3d_version\s*=\s*['\"]([^'\"]+)", str(meta.get("config", "")))
        version = found.group(1) if found else ""
    if version.startswith("0."):
        raise UserError(
            f"the weights were trained with mmdet3d {version}; before 1.0 yaw and box sizes had "
            "another convention",
            path,
            "convert or retrain them with mmdet3d >= 1.0",
        )
