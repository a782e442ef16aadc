"""Do a nuScenes split's labels, handed in as predictions, get their full score?"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

from kd3d.data.nuscenes_tables import EVAL_SETS, check_version, open_tables
from kd3d.errors import UserError
from kd3d.evaluation.nuscenes_score import evaluate_nuscenes

FULL = 0.99


def labels_as_results(root: str | os.PathLike[str], version: str) -> dict[str, Any]:
    """Return the labels of a version's validation split in the submission format, all of score 1.

    The devkit's own loader reads them; velocities that are not known become 0.
    """
    from nuscenes.eval.common.loaders import load_gt
    from nuscenes.eval.detection.data_classes import DetectionBox

    nusc = open_tables(root, check_version(version))
    with contextlib.redirect_stderr(io.StringIO()):
        boxes = load_gt(nusc, EVAL_SETS[version], DetectionBox, verbose=False)
    results = boxes.serialize()
    for rows in results.values():
        for row in rows:
            row["detection_score"] = 1.0
            row["velocity"] = [0.0 if math.isnan(v) else v for v in row["velocity"]]
    return {"meta": {}, "results": results}


def self_check(root: str | os.PathLike[str], version: str) -> dict[str, Any]:
    """Score the labels as predictions and return the result.

    Raises:
        UserError: A class with labels gets an AP below 0.99.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results_nusc.json"
        path.write_text(json.dumps(labels_as_results(root, version)), encoding="utf-8")
        result = evaluate_nuscenes(path, root, version)
    counts = result["boxes"]["ground_truth_by_class"]
    for name, score in result["mean_dist_aps"].items():
        if counts[name] and score < FULL:
            raise UserError(f"labels as predictions: {name} has AP {score:.3f}, not 1", root)
    return result
