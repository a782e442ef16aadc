"""A config's distiller and its first batches, as a training would have them."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from kd3d.cache.manifest import frozen_config
from kd3d.core.distiller import Distiller
from kd3d.data.views import seeded_dataloader
from kd3d.data.wrapped import innermost
from kd3d.engine.mistakes import building, check_data
from kd3d.engine.register import register_all
from kd3d.engine.runner import SafeRunner, set_data_root
from kd3d.errors import UserError
from kd3d.inspection.detectors import DISTILLER
from kd3d.models.source import detector_config, resolve_detector

SEED, BATCHES = 0, 2
_REFERENCE = ("config", "model", "shrink", "override")


def build_distiller(config: Config, untrained: bool = False) -> Distiller:
    """Return the distiller of a config, initialised; a stock detector becomes a student alone.

    Args:
        config: See `kd3d.engine.runner.load_config`; not changed.
        untrained: Teachers and pretrained parts get random weights, and nothing is inherited: the
            config's wiring without its files.

    Raises:
        UserError: As the distiller, or weights that are not there.
    """
    register_all()
    model = config.model.to_dict()
    if model["type"] != DISTILLER:
        model = dict(type=DISTILLER, student=model)
    if untrained:
        model = without_weights(model)
    model.pop("type")
    torch.manual_seed(SEED)
    with building(config):
        distiller = Distiller(**model)
        distiller.init_weights()
    return distiller


def without_weights(model: dict[str, Any]) -> dict[str, Any]:
    """Return a distiller's config of which no part needs a file of weights or a store."""
    model = copy.deepcopy(model)
    model.pop("inherit", None)
    teachers = model.get("teachers") or {}
    members = [one for teacher in teachers.values() for one in teacher.get("members", {}).values()]
    for one in [*teachers.values(), *members]:
        if one.get("type") == "Cached":
            for key in set(one) - set(frozen_config(one)):
                one.pop(key)
            one["type"] = "Frozen"  # it runs live
        if one.get("type", "Frozen") in ("Frozen", "Online"):
            one["checkpoint"] = None
            one.pop("minimum", None)
    for one in [model["student"], *teachers.values(), *members]:
        if {"config", "model"} & set(one):
            detector = _without_pretrained(resolve_detector(detector_config(one)))
            for key in _REFERENCE:
                one.pop(key, None)
            one["model"] = detector
    model["student"] = _without_pretrained(model["student"])
    return model


def _without_pretrained(value: Any) -> Any:
    if isinstance(value, dict):
        if value.get("type") == "Pretrained" and "checkpoint" in value:
            return None
        return {key: _without_pretrained(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_without_pretrained(item) for item in value)
    return value


def first_batches(config: Config) -> list[dict[str, Any]]:
    """Return the first two raw batches of a config's training data; of one batch, that twice.

    Raises:
        UserError: No data, data that the pipeline cannot read, or fewer frames than a batch.
    """
    register_all()
    if not config.get("train_dataloader"):
        raise UserError("the config has no train_dataloader", config.filename, "see configs/")
    check_data(config, "train_dataloader")
    loader = config.train_dataloader.to_dict()
    if config.get("seeded_data"):
        loader = seeded_dataloader(loader, views=config.get("views"))
    loader |= dict(num_workers=0, persistent_workers=False)
    loader.pop("prefetch_factor", None)
    with DefaultScope.overwrite_default_scope("mmdet3d"), building(config):
        built = SafeRunner.build_dataloader(loader, seed=SEED)
        try:
            found = list(itertools.islice(built, BATCHES))
        except (AssertionError, KeyError, IndexError, ValueError) as error:  # of a transform
            raise UserError(
                f"the training data cannot be read ({type(error).__name__}: {error})",
                config.filename,
                "mend train_dataloader.dataset.pipeline, or the data",
            ) from error
    if not found:
        frames = len(built.dataset)  # type: ignore[arg-type]
        raise UserError(
            f"{frames} training frames give no batch of {loader.get('batch_size')}",
            config.filename,
            "lower train_dataloader.batch_size",
        )
    return found if len(found) == BATCHES else [found[0], copy.deepcopy(found[0])]


def simulate_data(config: Config, folder: Path) -> None:
    """Simulate a few frames of a config's data set and point the config at them.

    Args:
        config: With a KITTI or nuScenes data set; changed.
        folder: Where the data go.

    Raises:
        UserError: Another data set.
    """
    from kd3d.data.kitti_prepare import prepare_kitti
    from kd3d.data.nuscenes_prepare import prepare_nuscenes
    from kd3d.simulation.kitti import simulate_kitti
    from kd3d.simulation.nuscenes import simulate_nuscenes

    kind = innermost((config.get("train_dataloader") or {}).get("dataset") or {}).get("type")
    batch = (config.get("train_dataloader") or {}).get("batch_size", 1)
    if kind == "KittiDataset":
        simulate_kitti(folder, frames=max(2 * batch, 4), val_share=0.25)
        prepare_kitti(folder, pictures=False)
    elif kind == "NuScenesDataset":
        simulate_nuscenes(folder, scenes=2, samples=max(batch, 2))
        prepare_nuscenes(folder, pictures=False)
    else:
        raise UserError(f"a {kind} cannot be simulated", "--simulated", "--data-root DIR")
    set_data_root(config, folder)
