"""The scan that fills the registries."""

from __future__ import annotations

import importlib
import pkgutil
from importlib.metadata import entry_points

import kd3d.methods
import kd3d.teachers
from kd3d import compat


def register_all() -> None:
    """Import every module that registers something: methods, teachers, hooks, transforms, metrics.

    Outside packages register through the entry-point group ``kd3d.methods``.
    """
    compat.restore_numpy_names()

    for package in (kd3d.methods, kd3d.teachers):
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{module.name}")
    for name in (
        "core.distiller",
        "core.term",
        "engine.diagnostics",
        "engine.distributed",
        "engine.hooks",
        "engine.precision",
        "engine.sharded",
        "data.labelled",
        "data.multi_input",
        "data.surround",
        "data.transforms",
        "data.views",
        "evaluation.kitti_metric",
        "evaluation.nuscenes_metric",
        "models.bev.detectors",
        "models.heatmap_prior",
        "models.inherit.kinds",
        "robustness.transforms",
    ):
        importlib.import_module(f"kd3d.{name}")
    for entry in entry_points(group="kd3d.methods"):
        entry.load()
