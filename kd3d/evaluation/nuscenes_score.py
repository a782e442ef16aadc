"""nuScenes detection score of a result file: the devkit's own evaluation, called safely.

The devkit (``nuscenes.eval.detection.DetectionEval``, configuration detection_cvpr_2019; H. Caesar
and others, "nuScenes: A multimodal dataset for autonomous driving", CVPR 2020, section 4) does all
the scoring. This file chooses the split, checks the input first, keeps the devkit from printing and
from leaving files, and lets it score a detector that found nothing.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from kd3d.data.nuscenes_tables import EVAL_SETS, LIDAR, open_tables, split_tokens
from kd3d.errors import UserError
from kd3d.evaluation.nuscenes_results import read_results

CONFIG = "detection_cvpr_2019"
_OUT_OF_RANGE_M = 1e6


def evaluate_nuscenes(
    result_file: str | os.PathLike[str], data_root: str | os.PathLike[str], version: str
) -> dict[str, Any]:
    """Score a result file on the validation split of a version.

    Args:
        result_file: Boxes in the submission format, see `read_results`.
        data_root: Folder with ``<version>/*.json`` and the map files; no sensor file is opened.
        version: "v1.0-mini" (split mini_val) or "v1.0-trainval" (split val).

    Returns:
        The devkit's metrics under its own names: ``nd_score``, ``mean_ap``, ``tp_errors``,
        ``tp_scores``, ``label_aps`` (by class and distance in metres), ``label_tp_errors``,
        ``mean_dist_aps``; None where the devkit has NaN (cones and barriers). Besides
        ``version``, ``eval_set``, ``samples``, ``boxes`` (numbers of ground truth and predictions
        after the devkit's filters, and of ground truth by class) and ``notes``.

    Raises:
        UserError: Bad tables or results; a split without samples or annotations.
    """
    return _score(devkit_evaluation(result_file, data_root, version))


def devkit_evaluation(
    result_file: str | os.PathLike[str], data_root: str | os.PathLike[str], version: str
) -> Any:
    """Return the devkit's `DetectionEval` of a result file, with its filtered boxes.

    The arguments and errors are those of `evaluate_nuscenes`.
    """
    nusc = open_tables(data_root, version)
    eval_set = EVAL_SETS[version]
    tokens = split_tokens(nusc, eval_set)
    _check_split(nusc, tokens, data_root, eval_set)
    from nuscenes.eval.detection.config import config_factory
    from nuscenes.eval.detection.evaluate import DetectionEval

    config = config_factory(CONFIG)
    results = read_results(result_file, tokens, config.max_boxes_per_sample)
    if not any(results["results"].values()):
        results["results"][tokens[0]] = [_filtered_box(tokens[0])]
    with tempfile.TemporaryDirectory() as folder:
        checked = Path(folder) / "results.json"
        checked.write_text(json.dumps(results), encoding="utf-8")
        with contextlib.redirect_stderr(io.StringIO()):  # its progress bars
            return DetectionEval(nusc, config, str(checked), eval_set, folder, verbose=False)


def _check_split(
    nusc: Any, tokens: list[str], data_root: str | os.PathLike[str], eval_set: str
) -> None:
    where = Path(data_root) / nusc.version
    if not tokens:
        raise UserError(f"no scene of the split {eval_set}", where, "copy the whole tables")
    for token in tokens:
        if LIDAR not in nusc.get("sample", token)["data"]:
            raise UserError(f"sample {token} has no {LIDAR} key frame in sample_data.json", where)
    if not any(nusc.get("sample", token)["anns"] for token in tokens):
        raise UserError(f"no annotation in the split {eval_set}", where)


def _filtered_box(token: str) -> dict[str, Any]:
    """Return a box that the devkit's range filter drops; it cannot score a file without any."""
    return {
        "sample_token": token,
        "translation": [_OUT_OF_RANGE_M, 0.0, 0.0],
        "size": [1.0, 1.0, 1.0],
        "rotation": [1.0, 0.0, 0.0, 0.0],
        "velocity": [0.0, 0.0],
        "detection_name": "car",
        "detection_score": 0.0,
        "attribute_name": "",
    }


def _score(scorer: Any) -> dict[str, Any]:
    metrics, _ = scorer.evaluate()
    values = json.loads(json.dumps(metrics.serialize()), parse_constant=lambda name: None)
    for key in ("eval_time", "cfg"):
        del values[key]
    by_class = dict.fromkeys(scorer.cfg.class_names, 0)
    for box in scorer.gt_boxes.all:
        by_class[box.detection_name] += 1
    absent = [name for name, count in by_class.items() if not count]
    notes = []
    if absent:
        notes.append(f"no ground truth, counted as AP 0 and errors of 1: {', '.join(absent)}")
    return {
        "version": scorer.nusc.version,
        "eval_set": scorer.eval_set,
        "config": CONFIG,
        "samples": len(scorer.sample_tokens),
        "boxes": {
            "ground_truth": sum(by_class.values()),
            "predictions": len(scorer.pred_boxes.all),
            "ground_truth_by_class": by_class,
        },
        **values,
        "notes": notes,
    }
