"""What a teacher cache will hold: which samples and views, and which part of which taps."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.dataset import pseudo_collate
from torch.utils.data import DataLoader

from kd3d.cache import manifest, values
from kd3d.cache.pipeline import canonical, has_geometry, single
from kd3d.cache.record import Arrays
from kd3d.console import say
from kd3d.core.context import Context
from kd3d.core.sentences import further_taps
from kd3d.errors import UserError

MOVABLE = ("map", "center_head", "boxes")
CACHED = "Cached"
UNORDERED = ("rows", "boxes", "other")  # cannot be stored as one of several taps


@dataclass
class Plan:
    """One cached teacher of a config, ready to be filled.

    Attributes:
        name: The teacher's name.
        url: Its store.
        mode: ``replay`` or ``canonical``.
        views: Stored views a sample.
        dtype: Of features.
        distiller: The whole model with the live teacher.
        dataset: A `kd3d.data.views.SeededViews`.
        identity: Hashes; see `kd3d.cache.manifest`.
        reads: Tap name -> the part that terms read; None: all of it.
        batch_size: Samples in a batch.
        workers: Loading processes.
        specs: Tap name -> spec of what is stored.
        frame: In which it lies: ``lidar``, or ``ego``.
        skeletons: Tap name -> nesting, known after the first batch.
    """

    name: str
    url: str
    mode: str
    views: int
    dtype: str
    distiller: Any
    dataset: Any
    identity: dict[str, Any]
    reads: dict[str, dict[str, Any] | None]
    batch_size: int
    workers: int
    specs: dict[str, Any]
    frame: str = manifest.LIDAR
    skeletons: dict[str, Any] = field(default_factory=dict)

    @property
    def teacher(self) -> Any:
        """The live teacher."""
        return self.distiller.teachers[self.name]

    @property
    def samples(self) -> int:
        """Samples in a view."""
        return len(self.dataset)

    def keys(self) -> list[tuple[int, int]]:
        """Return every (view, index)."""
        return [(view, index) for view in range(self.views) for index in range(self.samples)]

    def batches(self, keys: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
        """Cut keys into batches."""
        return [keys[i : i + self.batch_size] for i in range(0, len(keys), self.batch_size)]

    def loader(self, batches: list[list[tuple[int, int]]]) -> DataLoader:
        """Return a loader of collated batches."""
        numbers = [[view * self.samples + index for view, index in batch] for batch in batches]
        return DataLoader(
            self.dataset,
            batch_sampler=numbers,
            num_workers=self.workers,
            collate_fn=pseudo_collate,
        )

    def parts(self, tap: str, value: Any, inputs: dict, context: Context) -> list[Arrays]:
        """Return what is stored of a tap's batch, one dict of arrays a sample."""
        reads, layout = self.reads[tap], self.specs[tap].layout
        if reads is not None and "mask" in reads:
            layout, value = "foreground", self._reader(tap).foreground(value, context)
        elif reads is not None:
            value = values.only_maps(value, reads["maps"])
        rows = None
        if layout == "rows":
            sample = inputs[self.name]["voxels"]["coors"][:, 0].long()
            rows = torch.bincount(sample, minlength=len(context.boxes)).tolist()
        self.skeletons.setdefault(tap, values.skeleton_of(value))
        return values.split(value, layout, len(context.boxes), rows)

    def _reader(self, tap: str) -> Any:
        return next(t for t in readers(self.distiller, self.name) if t.teacher_tap == tap)

    def entries(self) -> dict[str, Any]:
        """Return the manifest's description of the taps."""
        return {
            tap: manifest.tap_entry(self.specs[tap], reads, self.skeletons.get(tap))
            for tap, reads in self.reads.items()
        }

    def facts(self) -> dict[str, Any]:
        """Return what else the manifest says."""
        facts: dict[str, Any] = {"views": self.views, "samples": self.samples}
        model = self.teacher.model
        head = getattr(model, "pts_bbox_head", getattr(model, "bbox_head", None))
        facts["log_dims"] = bool(getattr(head, "norm_bbox", True))
        facts["frame"] = self.frame
        if self.mode == "canonical":
            infos = [self.dataset.get_data_info(i) for i in range(self.samples)]
            facts["names"] = [str(info["sample_idx"]) for info in infos]
        return facts

    def refuse_other_content(self, stored: dict[str, Any]) -> None:
        """Refuse a store with other taps, views or samples than this plan has."""
        mine = {tap: _comparable(entry) for tap, entry in self.entries().items()}
        theirs = {tap: _comparable(entry) for tap, entry in stored["taps"].items()}
        if mine != theirs or (stored["views"], stored["samples"]) != (self.views, self.samples):
            raise UserError(
                f"the cache holds {sorted(theirs)} of {stored['samples']} samples x "
                f"{stored['views']} views, this config needs {sorted(mine)} of {self.samples} x "
                f"{self.views}, or other parts of them",
                self.url,
                "give another store, or remove this one",
            )
        self.skeletons = {tap: entry["skeleton"] for tap, entry in stored["taps"].items()}

    def local_folder(self) -> Path | None:
        """Return the nearest existing folder of a local store."""
        scheme, separator, rest = self.url.partition("://")
        if separator and scheme != "file":
            return None
        path = Path(rest if separator else self.url).absolute()
        return next(folder for folder in path.parents if folder.is_dir())


def cached_teachers(config: Any) -> list[str]:
    """Return the names of a training config's cached teachers."""
    teachers = (config.get("model") or {}).get("teachers") or {}
    return [name for name, teacher in teachers.items() if teacher.get("type") == CACHED]


def build_distiller(config: Any) -> Any:
    """Build a training config's distiller with live teachers in the place of cached ones."""
    from mmengine.device import get_device
    from mmengine.registry import init_default_scope

    from kd3d.core.distiller import Distiller
    from kd3d.engine.register import register_all

    register_all()
    _log_to_stderr()
    init_default_scope(config.get("default_scope") or "mmdet3d")
    model = config.model.to_dict()
    model.pop("type")
    for name in cached_teachers(config):
        model["teachers"][name] = manifest.frozen_config(model["teachers"][name])
    return Distiller(**model).to(get_device())


def _log_to_stderr() -> None:
    """Send mmengine's log to standard error; standard output is for results."""
    from mmengine.logging import MMLogger

    for handler in MMLogger.get_current_instance().handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stdout:
            handler.setStream(sys.stderr)


def readers(distiller: Any, teacher: str) -> list[Any]:
    """Return the terms and label sources that read a teacher."""
    return [reader for reader in distiller.readers if reader.teacher_branch == teacher]


def make_plan(config: Any, distiller: Any, name: str) -> Plan:
    """Return the plan of one cached teacher.

    Raises:
        UserError: No term reads it, or what it gives cannot be stored or replayed in this mode.
    """
    from kd3d.data.views import SeededViews

    own, where = config.model.teachers[name].to_dict(), f"teacher {name}"
    identity = manifest.teacher_identity(own, where)
    mode = identity["mode"]
    identity |= manifest.data_identity(config, mode)
    reads, teacher = _reads(distiller, name, mode), distiller.teachers[name]
    specs = teacher.taps.specs if teacher.frame is None else teacher.frame.specs
    dataset, frame = config.train_dataloader["dataset"], manifest.LIDAR
    if mode == "canonical":
        if teacher.leave_in_car():  # turned and moved in one resampling when they are read
            specs, frame = teacher.taps.specs, manifest.CAR
        _check_movable(specs, single(dataset)["pipeline"], where)
        dataset = _still(single(dataset))
    elif dataset["type"] == "SeededViews":
        dataset = dataset["dataset"]
    return Plan(
        name,
        own["store"],
        mode,
        own.get("views", 1),
        identity["dtype"],
        distiller,
        SeededViews(dataset, identity["seed"] or 0),
        identity,
        reads,
        config.train_dataloader["batch_size"],
        config.train_dataloader.get("num_workers", 0),
        specs,
        frame,
    )


def _reads(distiller: Any, name: str, mode: str) -> dict[str, dict[str, Any] | None]:
    """Return what of each tap suffices for all that read it."""
    wanted: dict[str, list[dict[str, Any] | None]] = {}
    specs = distiller.teachers[name].taps.specs
    for reader in readers(distiller, name):
        spec = specs[reader.teacher_tap]
        if reader.needs_detector or any(s.layout in UNORDERED for s in spec.each if s is not spec):
            raise UserError(
                f"term {reader.name} reads what cannot be stored: {spec}",
                f"teacher {name}",
                "give it a live teacher, type='Frozen'",
            )
        wanted.setdefault(reader.teacher_tap, []).append(reader.reads())
        for branch, tap in further_taps(reader):
            if branch == name:
                wanted.setdefault(tap, []).append(None)
    if not wanted:
        raise UserError("no term reads this teacher", f"teacher {name}", "name it in a method")
    made: dict[str, dict[str, Any] | None] = {}
    for tap, parts in wanted.items():
        made[tap] = None
        if all(part is not None and "maps" in part for part in parts):
            maps = {key for part in parts if part for key in part["maps"]}
            made[tap] = {"maps": sorted(maps)}
        elif mode == "replay" and all(part == parts[0] for part in parts):
            made[tap] = parts[0]
    return made


def _check_movable(specs: dict[str, Any], pipeline: list[dict], where: str) -> None:
    for tap, spec in specs.items():
        still = not has_geometry(pipeline) and spec.layout == "anchor_head"
        flat = spec.layout != "boxes" and not spec.is_bev
        if (spec.layout not in MOVABLE and not still) or flat:
            raise UserError(
                f"tap {tap} is {spec}, which cannot be moved with an augmented scene",
                f"{where}, mode='canonical'",
                "use mode='replay'",
            )
        if spec.layout == "map" and has_geometry(pipeline):
            say(
                f"{where}: tap {tap} holds features, which a network gives otherwise for a moved "
                "scene: mode='canonical' only approximates them, mode='replay' is exact"
            )


def _still(dataset: dict[str, Any]) -> dict[str, Any]:
    """Return the data set without geometric augmentation, frames without objects included."""
    keep = {**(dataset.get("filter_cfg") or {}), "filter_empty_gt": False}
    return {**dataset, "pipeline": canonical(dataset["pipeline"]), "filter_cfg": keep}


def _comparable(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "skeleton"}
