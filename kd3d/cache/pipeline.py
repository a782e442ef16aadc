"""Which augmentation a teacher cache can replay."""

from __future__ import annotations

import copy
from typing import Any

from kd3d.data.wrapped import innermost
from kd3d.errors import UserError

GEOMETRIC = ("RandomFlip3D", "GlobalRotScaleTrans")  # their record in the metainfo is replayed
ORDER_ONLY = ("PointShuffle",)
DETERMINISTIC = (
    "LoadKittiPoints",
    "LoadPointsFromFile",
    "LoadPointsFromMultiSweeps",
    "LoadSweeps",
    "KeepRawPoints",
    "PointsToEgo",
    "DepthMaps",
    "LoadAnnotations3D",
    "PointsRangeFilter",
    "ObjectRangeFilter",
    "ObjectNameFilter",
    "PadVelocity",
    "SplitPoints",
    "LoadBranchPoints",
    "ThinBeams",
    "SelectPoints",
    "PackBranches",
    "Pack3DDetInputs",
)
IMAGES = "LoadSurroundImages"  # each image's augmentation is its own and undone when it is lifted
NESTED = ("transforms", "load")  # keys of transforms inside of a transform
STATEFUL_SAMPLERS = ("DataBaseSampler", "UnifiedDataBaseSampler")
MIXING = ("Mosaic", "MixUp", "CachedMosaic", "CachedMixUp", "PolarMix", "LaserMix")


def single(dataset: dict[str, Any]) -> dict[str, Any]:
    """Return the config of the data set inside of its wrappers.

    Raises:
        UserError: It joins several data sets, whose samples have no common names.
    """
    found = innermost(dataset)
    if "datasets" in found:
        raise UserError("a cache needs one data set, not several", f"dataset {found.get('type')}")
    return found


def check_replay(pipeline: list[dict[str, Any]]) -> None:
    """Refuse transforms that a seeded random state does not reproduce.

    Raises:
        UserError: One that keeps a memory across samples, or mixes in other samples.
    """
    for step in pipeline:
        kind = step["type"]
        sampler = (step.get("db_sampler") or {}).get("type")
        if kind == "ObjectSample" and (sampler is None or sampler in STATEFUL_SAMPLERS):
            raise UserError(
                f"{kind} with {sampler or STATEFUL_SAMPLERS[0]} cannot be replayed: what it pastes "
                "depends on all samples before",
                "train_dataloader pipeline",
                "db_sampler=dict(type='ObjectDatabase', ...)",
            )
        if kind in MIXING:
            raise UserError(
                f"{kind} cannot be replayed: it mixes in other samples", "train_dataloader pipeline"
            )


def canonical(pipeline: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the pipeline without geometric augmentation, which is replayed on what is stored.

    Images of several cameras are left as they are taken: their augmentation moves no map.

    Raises:
        UserError: A transform that cannot be replayed on stored values.
    """
    kept = []
    for step in pipeline:
        kind = step["type"]
        if kind in GEOMETRIC or kind in ORDER_ONLY:
            continue
        if kind == IMAGES:
            kept.append({**copy.deepcopy(dict(step)), "train": False})
            continue
        if kind not in DETERMINISTIC:
            raise UserError(
                f"{kind} cannot be replayed on stored values",
                "train_dataloader pipeline, mode='canonical'",
                "use mode='replay', or leave it out",
            )
        inner = {key: canonical(step[key]) for key in NESTED if step.get(key)}
        kept.append({**copy.deepcopy(dict(step)), **inner})
    return kept


def has_geometry(pipeline: list[dict[str, Any]]) -> bool:
    """Whether the pipeline flips, turns, scales or moves the scene."""
    return any(step["type"] in GEOMETRIC for step in pipeline)
