"""Who made a teacher cache, from what: hashes that say whether it fits a training."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import kd3d
from kd3d.cache.pipeline import canonical, check_replay, single
from kd3d.core.foreground import ForegroundSpec
from kd3d.core.spec import FeatureSpec, LevelsSpec
from kd3d.data.wrapped import layers
from kd3d.errors import UserError, did_you_mean
from kd3d.models.source import resolve_detector
from kd3d.models.zoo import fetched
from kd3d.teachers.certificate import file_sha256

FORMAT = 1
MODES = ("replay", "canonical")
DTYPES = ("float32", "float16")
STORE_KEYS = ("type", "store", "mode", "views", "dtype")
FROZEN_KEYS = ("checkpoint", "name", "allow_uncertified", "minimum", "precision", "frame")
LIDAR, CAR = "lidar", "ego"  # frames of a teacher, see `kd3d.teachers.frozen.Frozen`
_MEANING = {
    "format": "is of another format",
    "mode": "has another mode",
    "dtype": "has another dtype",
    "teacher_weights": "was made by other teacher weights",
    "teacher_config": "was made by another teacher model",
    "data": "was made from other data",
    "augmentation": "was made with another augmentation",
    "seed": "was made with another seed",
    "inputs": "was made from other inputs of the teacher",
}


def frozen_config(teacher: dict[str, Any]) -> dict[str, Any]:
    """Return the config of the live teacher that a cached teacher's config stands for."""
    return {"type": "Frozen", **{k: v for k, v in teacher.items() if k not in STORE_KEYS}}


def teacher_identity(teacher: dict[str, Any], where: str) -> dict[str, Any]:
    """Return format, mode, precision and the hashes of weights and model config; builds nothing.

    Args:
        teacher: A cached teacher's config.
        where: For messages.

    Raises:
        UserError: An unknown mode or precision, no weights, or no such file.
    """
    mode, dtype = teacher.get("mode", MODES[0]), teacher.get("dtype", DTYPES[0])
    views, checkpoint = teacher.get("views", 1), teacher.get("checkpoint")
    if mode not in MODES:
        raise UserError(f"unknown mode {mode!r}", where, did_you_mean(mode, MODES))
    if dtype not in DTYPES:
        raise UserError(f"unknown dtype {dtype!r}", where, did_you_mean(dtype, DTYPES))
    if views < 1 or (mode == "canonical" and views != 1):
        raise UserError(f"{views} views in {mode} mode", where, "1 or more; canonical stores one")
    if checkpoint is None:
        raise UserError("a teacher without a checkpoint cannot be cached", where)
    if not fetched(checkpoint).is_file():
        raise UserError("file not found", checkpoint, f"the checkpoint of {where}")
    detector = {k: v for k, v in teacher.items() if k not in (*STORE_KEYS, *FROZEN_KEYS)}
    model = resolve_detector(detector, where)
    usual = {"precision": DTYPES[0], "frame": LIDAR}
    other = {key: teacher[key] for key, value in usual.items() if teacher.get(key, value) != value}
    if other:
        model = {"model": model, **other}
    return {
        "format": FORMAT,
        "mode": mode,
        "dtype": dtype,
        "teacher_weights": file_sha256(checkpoint),
        "teacher_config": _digest(model),
    }


def data_identity(config: Any, mode: str) -> dict[str, Any]:
    """Return the hashes of the training data, their augmentation and its seed.

    The annotation file and every other file that the data set's config names count by their
    content, folders by their name below ``data_root``; so data may move. The point clouds
    themselves are not read.

    Args:
        config: A training config.
        mode: In ``canonical`` the geometric augmentation and the seed do not matter.
    """
    dataset = single(config.train_dataloader["dataset"])
    dataset = {**dataset}
    pipeline = [dict(step) for step in dataset.pop("pipeline")]
    if mode == "canonical":
        pipeline = canonical(pipeline)
    else:
        check_replay(pipeline)
    root = str(dataset.get("data_root") or "")
    wrappers = [] if mode == "canonical" else _wrappers(config.train_dataloader["dataset"])
    branches = (config.model.get("branches") or {}) if "model" in config else {}
    return {
        "data": _digest(_portable([wrappers, dataset], root)),
        "augmentation": _digest(_portable(pipeline, root)),
        "seed": None if mode == "canonical" else data_seed(config),
        "inputs": _digest(branches),
    }


def data_seed(config: Any) -> int:
    """Return the seed of the views, which must be stated.

    Raises:
        UserError: The config has none, so that every run would draw another.
    """
    seed = (config.get("randomness") or {}).get("seed")
    if seed is None:
        raise UserError("replay needs a seed", "randomness.seed", "randomness=dict(seed=0)")
    return int(seed)


def new_manifest(identity: dict[str, Any], taps: dict[str, Any], **facts: Any) -> dict[str, Any]:
    """Return the manifest of a store that holds nothing yet.

    Args:
        identity: From `teacher_identity` and `data_identity`.
        taps: Tap name -> entry of `tap_entry`.
        **facts: ``views``, ``samples``, ``names`` (canonical: the samples' names in order) ...
    """
    start = {"format": FORMAT, "kd3d": kd3d.__version__, "complete": False}
    return start | identity | {"taps": taps} | facts


def tap_entry(spec: FeatureSpec, reads: dict[str, Any] | None, skeleton: Any) -> dict[str, Any]:
    """Return what a manifest says of a tap: its spec, what of it is stored, and its nesting."""
    layout = "foreground" if reads and "mask" in reads else spec.layout
    entry = {"channels": spec.channels, "layout": layout, "reads": reads, "skeleton": skeleton}
    if layout == "levels":
        return entry | {"levels": [tap_entry(one, None, None) for one in spec.each]}
    entry |= {"shape": spec.shape and list(spec.shape), "extent_m": _listed(spec.extent_m)}
    entry |= {"maps": [[[name, count] for name, count in part] for part in spec.maps]}
    return entry | {"classes": [list(task) for task in spec.classes]}


def tap_spec(entry: dict[str, Any]) -> FeatureSpec:
    """Return the spec of a manifest's tap."""
    if entry["layout"] == "levels":
        return LevelsSpec.of(tap_spec(one) for one in entry["levels"])
    shape = entry["shape"] and tuple(entry["shape"])
    extent = entry["extent_m"] and tuple(entry["extent_m"])
    if entry["layout"] == "foreground":
        reads = entry["reads"]
        return ForegroundSpec(entry["channels"], "foreground", shape, extent, reads=reads)
    maps = tuple(tuple((name, count) for name, count in part) for part in entry.get("maps", ()))
    classes = tuple(tuple(task) for task in entry.get("classes", ()))
    return FeatureSpec(entry["channels"], entry["layout"], shape, extent, maps, classes)


def refuse_difference(stored: dict[str, Any], wanted: dict[str, Any], url: str) -> None:
    """Raise a `UserError` that says in which respect a store does not fit.

    Args:
        stored: A manifest.
        wanted: The identity a training has; keys it lacks are not compared.
        url: The store, for the message.
    """
    for key in _MEANING:
        if key in wanted and stored.get(key) != wanted[key]:
            raise UserError(
                f"the cache {_MEANING[key]} "
                f"({_short(stored.get(key))} is stored, {_short(wanted[key])} is wanted)",
                url,
                "give another store and fill it with kd3d cache, or restore the config",
            )


def _wrappers(dataset: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the configs of the wrappers around a data set, which decide its order and length."""
    *around, _ = layers(dataset)
    return [
        {key: value for key, value in one.items() if key != "dataset"}
        for one in around
        if one["type"] != "SeededViews"
    ]


def _portable(value: Any, root: str) -> Any:
    """Replace files by their content's hash and folders by their place below the data's root."""
    if isinstance(value, dict):
        return {k: _portable(v, root) for k, v in value.items() if k != "data_root"} | (
            {"ann_file": _content(Path(root) / value["ann_file"])} if value.get("ann_file") else {}
        )
    if isinstance(value, (list, tuple)):
        return [_portable(item, root) for item in value]
    if isinstance(value, str) and root and value.startswith(root):
        return _content(Path(value)) if Path(value).is_file() else value[len(root) :].strip("/")
    return value


def _content(path: Path) -> str:
    return file_sha256(path) if path.is_file() else str(path)


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _short(value: Any) -> str:
    text = str(value)
    return text[:8] if len(text) == 64 else text


def _listed(value: Any) -> list | None:
    return None if value is None else list(value)
