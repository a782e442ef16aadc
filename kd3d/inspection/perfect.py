"""Labels as predictions: what a config's own evaluator gives a detector without fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.registry import DefaultScope

from kd3d.console import track
from kd3d.doctor import FAIL, OK, WARN, Verdict
from kd3d.engine.certify import device_evaluators, without_files
from kd3d.errors import UserError
from kd3d.evaluation.kitti_rules import DIFFICULTIES
from kd3d.inspection.raw_data import raw_dataset

LAYER = "labels as predictions"
# In the metric's own unit. nuScenes' AP counts 90 steps of recall, and mmdet3d leaves out an object
# on the very edge of its class's range where the car is tilted: the last step may be lost.
SLACK = {"KittiAP": 1.0, "NuScenesAP": 1 / 90 + 1e-6}


def check_perfect(config: Config) -> Verdict:
    """Score the test set's labels as if a detector had found them.

    KITTI's AP needs 40 objects to reach 100, so it is compared with what the label files give when
    they are scored against themselves.
    """
    try:
        evaluators = device_evaluators(config)
    except UserError as error:
        return Verdict(LAYER, WARN, f"not measured: {error}", "use KittiAP or NuScenesAP")
    (evaluator, *_), kind = evaluators, evaluators[0]["type"]
    metrics = label_scores(config, without_files(evaluator))
    if kind == "KittiAP":
        wanted = _kitti_wanted(evaluator["label_dir"], metrics["frames"])
        found = {name: metrics[name] for name in wanted if name in metrics}
    elif kind == "NuScenesAP":
        counts = metrics["result"]["boxes"]["ground_truth_by_class"]  # within the score's range
        found = {f"{n}_AP": metrics[f"{n}_AP"] for n in metrics["classes"] if counts[n]}
        wanted = dict.fromkeys(found, 1.0)
    else:
        return Verdict(LAYER, WARN, f"{kind} is not known here", "use KittiAP or NuScenesAP")
    if kind == "KittiAP" and metrics["classes"] and not found:
        told = f"too few labels in {len(metrics['frames'])} frames for KITTI's AP"
        return Verdict(LAYER, WARN, told, "it counts 40 steps of recall: use more frames")
    short = {n: v for n, v in found.items() if not v >= wanted[n] - SLACK[kind]}
    shown = short or dict(sorted(found.items(), key=lambda item: item[1])[:3])
    told = ", ".join(f"{name} {value:.4g} of {wanted[name]:.4g}" for name, value in shown.items())
    if short or not found:
        fix = "range, classes, box convention or calibration of labels and evaluator differ"
        return Verdict(LAYER, FAIL, told or "no class has labels", fix)
    return Verdict(LAYER, OK, f"{len(found)} scores, all that labels can give; lowest: {told}")


def label_scores(config: Config, evaluator: dict[str, Any]) -> dict[str, Any]:
    """Return the metrics of labels as predictions.

    Beside them ``frames``, the labelled ``classes``, and the evaluator's whole ``result``.
    """
    dataset = raw_dataset(config, "test_dataloader")
    with DefaultScope.overwrite_default_scope("mmdet3d"):
        judge = Evaluator(evaluator)
    judge.dataset_meta = dataset.metainfo
    frames, classes = [], set()
    for index in track(range(len(dataset)), "labels as predictions"):
        info = dataset.get_data_info(index)
        truth = info["ann_info"]
        labels = torch.as_tensor(np.asarray(truth["gt_labels_3d"])).long()
        kept = labels >= 0
        found = dict(
            bboxes_3d=truth["gt_bboxes_3d"][kept],
            labels_3d=labels[kept],
            scores_3d=torch.ones(int(kept.sum())),
        )
        classes |= set(labels[kept].tolist())
        sample = dict(sample_idx=info["sample_idx"], pred_instances_3d=found, pred_instances=dict())
        cloud = (info.get("lidar_points") or {}).get("lidar_path")
        if cloud:
            sample["lidar_path"] = cloud
            frames.append(Path(cloud).stem)
        judge.process([sample], {})
    names = dataset.metainfo["classes"]
    return judge.evaluate(len(dataset)) | dict(
        frames=frames,
        classes=[names[index] for index in sorted(classes)],
        result=getattr(judge.metrics[0], "last_result", None),
    )


def _kitti_wanted(label_dir: str, frames: list[str]) -> dict[str, float]:
    """Return metric -> AP40 of label files scored against themselves."""
    from kd3d.data.kitti_files import CLASSES, read_label_dir
    from kd3d.evaluation.kitti_ap import evaluate_kitti
    from kd3d.evaluation.kitti_selfcheck import labels_as_predictions

    labels = list(read_label_dir(label_dir, sorted(frames)).values())
    result = evaluate_kitti(labels, [labels_as_predictions(one) for one in labels])
    return {
        f"{name}_{metric}_AP40_{difficulty}_{overlap}": value
        for name in CLASSES
        for metric in ("3D", "BEV")
        for overlap, values in result[name][metric]["AP40"].items()
        for difficulty, value in zip(DIFFICULTIES, values)
        if value > 0
    }
