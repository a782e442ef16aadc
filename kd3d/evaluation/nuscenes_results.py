"""Result files in nuScenes' submission format: read, and refused in one line where they are bad."""

from __future__ import annotations

import math
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from kd3d.errors import UserError, did_you_mean
from kd3d.fileio import read_json

LENGTHS = {"translation": 3, "size": 3, "rotation": 4, "velocity": 2}
_FORMAT = '{"meta": {...}, "results": {sample_token: [boxes]}}'


def read_results(
    path: str | os.PathLike[str], tokens: Collection[str], max_boxes: int = 500
) -> dict[str, Any]:
    """Read a result file and check all that the devkit would stop at, and a little more.

    Args:
        path: JSON in the submission format; a box has sample_token, translation, size, rotation,
            velocity, detection_name, detection_score and attribute_name.
        tokens: The samples of the evaluated set: each needs an entry, an empty one where nothing
            was detected.
        max_boxes: Boxes allowed a sample.

    Returns:
        The file's content.

    Raises:
        UserError: No such file, another format, missing or foreign samples, too many boxes, an
            unknown class or attribute, or a value that is not a finite number.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError("is a folder", path, "give the results_nusc.json inside it")
    data = read_json(path)
    results = data.get("results") if isinstance(data, dict) else None
    if not isinstance(results, dict) or "meta" not in data:
        raise UserError('needs "meta" and "results"', path, f"the format is {_FORMAT}")
    _check_tokens(path, set(results), set(tokens))
    for token, boxes in results.items():
        where = f"{path}: sample {token}"
        if not isinstance(boxes, list):
            raise UserError("not a list of boxes", where, f"the format is {_FORMAT}")
        if len(boxes) > max_boxes:
            raise UserError(
                f"{len(boxes)} boxes, at most {max_boxes} a sample are allowed",
                where,
                "keep those of the highest scores",
            )
        for number, box in enumerate(boxes):
            _check_box(box, token, f"{where}, box {number}")
    return data


def _check_tokens(path: Path, found: set[str], wanted: set[str]) -> None:
    missing, foreign = sorted(wanted - found), sorted(found - wanted)
    if missing:
        raise UserError(
            f"{len(missing)} of {len(wanted)} samples of the evaluated set have no entry: "
            f"{', '.join(missing[:2])}" + (", ..." if len(missing) > 2 else ""),
            path,
            "is it of this version and split? an empty list says that nothing was detected",
        )
    if foreign:
        raise UserError(
            f"{len(foreign)} samples are not in the evaluated set: {', '.join(foreign[:2])}"
            + (", ..." if len(foreign) > 2 else ""),
            path,
            "give the results of this version's validation samples alone",
        )


def _check_box(box: Any, token: str, where: str) -> None:
    from nuscenes.eval.detection.constants import ATTRIBUTE_NAMES, DETECTION_NAMES

    if not isinstance(box, dict):
        raise UserError("not a record", where)
    needed = ("sample_token", *LENGTHS, "detection_name", "detection_score", "attribute_name")
    lacking = [key for key in needed if key not in box]
    if lacking:
        raise UserError(f"has no {', '.join(lacking)}", where)
    if box["sample_token"] != token:
        raise UserError(f"belongs to sample {box['sample_token']}", where)
    name, attribute = box["detection_name"], box["attribute_name"]
    if name not in DETECTION_NAMES:
        raise UserError(f"unknown class {name!r}", where, did_you_mean(str(name), DETECTION_NAMES))
    if attribute not in (*ATTRIBUTE_NAMES, ""):
        raise UserError(
            f"unknown attribute {attribute!r}", where, did_you_mean(str(attribute), ATTRIBUTE_NAMES)
        )
    for key, length in LENGTHS.items():
        value = box[key]
        if not isinstance(value, list) or len(value) != length or not all(map(_number, value)):
            raise UserError(f"{key} is not a list of {length} numbers", where)
        if key != "velocity" and not all(map(math.isfinite, value)):
            raise UserError(f"{key} is not finite", where, "has the training diverged?")
    if not _number(box["detection_score"]) or not math.isfinite(box["detection_score"]):
        raise UserError("detection_score is not a finite number", where)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
