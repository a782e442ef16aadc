"""The detectors of a config, and a frame to run them on."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmengine.config import Config

from kd3d.core.branches import STUDENT
from kd3d.core.probe import IMAGE, POINTS, inputs_of, made_up
from kd3d.models.compact import frame_batch
from kd3d.models.source import detector_config

DISTILLER = "Distiller"


def detectors(config: Config) -> dict[str, dict[str, Any]]:
    """Return name -> detector config: the student's, and of every teacher that brings its own.

    Members of an ensemble are ``<teacher>/<member>``; a moving average is the student's detector
    and is left out. A config that is no distiller's is a student alone.
    """
    if config.model["type"] != DISTILLER:
        return {STUDENT: config.model.to_dict()}
    model = config.model.to_dict()
    found = {STUDENT: model["student"]}
    for name, teacher in (model.get("teachers") or {}).items():
        members = {f"{name}/{one}": value for one, value in teacher.get("members", {}).items()}
        for label, one in (members or {name: teacher}).items():
            if {"config", "model"} & set(one):
                found[label] = detector_config(one)
    return found


def one_frame(model: Any, points: np.ndarray | None) -> dict[str, Any]:
    """Return a preprocessed batch of one frame for a detector.

    Args:
        model: The detector.
        points: (N, 3 or more) for detectors that read points alone; the others, and those without
            voxels, get made-up inputs.
    """
    layer = getattr(model.data_preprocessor, "voxel_layer", None)
    if points is not None and layer is not None and inputs_of(model) == (POINTS,):
        return frame_batch(model, points)
    return model.data_preprocessor(made_up(model), False)


def reads(model: Any) -> str:
    """Return the sensors that a detector reads: ``lidar``, ``camera`` or ``lidar+camera``."""
    names = {POINTS: "lidar", IMAGE: "camera"}
    return "+".join(names[one] for one in inputs_of(model))
