"""The JSON tables of nuScenes: are they all there, do their links hold, opened by the devkit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kd3d.errors import UserError, did_you_mean
from kd3d.fileio import read_json

VERSIONS = ("v1.0-mini", "v1.0-trainval")
EVAL_SETS = {"v1.0-mini": "mini_val", "v1.0-trainval": "val"}
TRAIN_SETS = {"v1.0-mini": "mini_train", "v1.0-trainval": "train"}
CAMERAS = (
    "CAM_FRONT",
    "CAM_FRONT_RIGHT",
    "CAM_FRONT_LEFT",
    "CAM_BACK",
    "CAM_BACK_LEFT",
    "CAM_BACK_RIGHT",
)
LIDAR = "LIDAR_TOP"
# the detection classes in mmdet3d's order; the index is the label
CATEGORIES = (
    "car",
    "truck",
    "trailer",
    "bus",
    "construction_vehicle",
    "bicycle",
    "motorcycle",
    "pedestrian",
    "traffic_cone",
    "barrier",
)
# the devkit's names of the true-positive errors, and those of the papers
ERRORS = {
    "trans_err": "mATE",
    "scale_err": "mASE",
    "orient_err": "mAOE",
    "vel_err": "mAVE",
    "attr_err": "mAAE",
}
TABLES = (
    "attribute",
    "calibrated_sensor",
    "category",
    "ego_pose",
    "instance",
    "log",
    "map",
    "sample",
    "sample_annotation",
    "sample_data",
    "scene",
    "sensor",
    "visibility",
)
# table -> field -> the table its token points into; an empty token is the end of a chain
LINKS = {
    "calibrated_sensor": {"sensor_token": "sensor"},
    "instance": {
        "category_token": "category",
        "first_annotation_token": "sample_annotation",
        "last_annotation_token": "sample_annotation",
    },
    "map": {"log_tokens": "log"},
    "sample": {"scene_token": "scene", "prev": "sample", "next": "sample"},
    "sample_annotation": {
        "sample_token": "sample",
        "instance_token": "instance",
        "attribute_tokens": "attribute",
        "visibility_token": "visibility",
        "prev": "sample_annotation",
        "next": "sample_annotation",
    },
    "sample_data": {
        "sample_token": "sample",
        "ego_pose_token": "ego_pose",
        "calibrated_sensor_token": "calibrated_sensor",
        "prev": "sample_data",
        "next": "sample_data",
    },
    "scene": {
        "log_token": "log",
        "first_sample_token": "sample",
        "last_sample_token": "sample",
    },
}
_DOWNLOAD = "unpack the metadata archive of nuscenes.org there, or give another --data-root"


def check_version(version: str) -> str:
    """Return the version if it has public annotations.

    Raises:
        UserError: An unknown version, or v1.0-test.
    """
    if version == "v1.0-test":
        raise UserError(
            "v1.0-test has no public annotations", "--version", "use v1.0-trainval or v1.0-mini"
        )
    if version not in VERSIONS:
        raise UserError(
            f"unknown version {version!r}", "--version", did_you_mean(version, VERSIONS)
        )
    return version


def check_files(root: str | os.PathLike[str], version: str) -> Path:
    """Return the folder of the tables if every table and map file is there.

    Raises:
        UserError: A bad version, a missing folder, table or map, or a table that is not JSON.
    """
    check_version(version)
    root = Path(root)
    if not root.is_dir():
        raise UserError("no such folder", root, "give the folder that holds v1.0-mini")
    folder = root / version
    if not folder.is_dir():
        there = [name for name in VERSIONS if (root / name).is_dir()]
        fix = f"--version {there[0]} is there" if there else _DOWNLOAD
        raise UserError(f"no folder {version}", root, fix)
    missing = [f"{name}.json" for name in TABLES if not (folder / f"{name}.json").is_file()]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(TABLES)} tables missing: {', '.join(missing)}",
            folder,
            _DOWNLOAD,
        )
    for record in _rows(folder, "map"):
        name = record.get("filename", "")
        if not (root / name).is_file():
            raise UserError(f"no map file {name}", root, "unpack the maps of nuscenes.org there")
    return folder


def open_tables(root: str | os.PathLike[str], version: str) -> Any:
    """Return the devkit's ``NuScenes`` object of a folder whose tables fit together.

    Raises:
        UserError: See `check_files` and `check_links`.
    """
    folder = check_files(root, version)
    from nuscenes import NuScenes

    try:
        return NuScenes(version=version, dataroot=str(root), verbose=False)
    except (KeyError, IndexError, TypeError, AssertionError, ValueError) as error:
        check_links(folder)
        raise UserError(f"nuscenes-devkit cannot read the tables ({error!r})", folder) from None


def split_tokens(nusc: Any, split: str) -> list[str]:
    """Return the sample tokens of an official split that are in the tables."""
    from nuscenes.utils.splits import create_splits_scenes

    scenes = set(create_splits_scenes()[split])
    names = {scene["token"]: scene["name"] for scene in nusc.scene}
    return [row["token"] for row in nusc.sample if names[row["scene_token"]] in scenes]


def turns_before(nusc: Any, key: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Return up to `count` ``sample_data`` records before one, the nearest first."""
    turns: list[dict[str, Any]] = []
    while len(turns) < count and key["prev"]:
        key = nusc.get("sample_data", key["prev"])
        turns.append(key)
    return turns


def check_links(folder: Path) -> None:
    """Check that every token of every table leads somewhere.

    Raises:
        UserError: A record without a field, or a token that the other table does not hold.
    """
    tables = {name: _rows(folder, name) for name in TABLES}
    known = {name: {row.get("token") for row in rows} for name, rows in tables.items()}
    for name, fields in LINKS.items():
        for row in tables[name]:
            for field, target in fields.items():
                where = folder / f"{name}.json"
                if field not in row:
                    raise UserError(f"record {row.get('token')} has no {field}", where)
                value = row[field]
                for token in value if isinstance(value, list) else [value]:
                    if token != "" and token not in known[target]:
                        raise UserError(
                            f"record {row.get('token')}: {field} {token} is not in {target}.json",
                            where,
                            "the tables are of different downloads or cut; copy them again",
                        )


def _rows(folder: Path, name: str) -> list[dict[str, Any]]:
    """Return a table's records."""
    path = folder / f"{name}.json"
    rows = read_json(path)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UserError("a table is a list of records", path, "copy it again")
    return rows
