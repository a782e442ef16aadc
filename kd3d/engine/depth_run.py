"""Measure the depth at which a camera model lifts its features, on its test set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope

from kd3d.console import quiet_logs, track
from kd3d.core.run import run_until_taps
from kd3d.core.taps import TapSet, aliases
from kd3d.data.wrapped import innermost, layers
from kd3d.engine.mistakes import check_data
from kd3d.engine.register import register_all
from kd3d.engine.runner import load_student
from kd3d.errors import UserError
from kd3d.evaluation.depth_error import DepthError
from kd3d.models.source import build_detector

TAP, RAW = "depth", "points_depth"


def measure_depth(config: Config, checkpoint: str | Path) -> dict[str, Any]:
    """Return `kd3d.evaluation.depth_error.DepthError.result` of a model on its test set.

    A cell's depth is that of its nearest LiDAR point of the key frame, and it shows the object in
    which this point lies. Images are as in the test.

    Args:
        config: Of a training; see `kd3d.engine.runner.load_config`.
        checkpoint: The student's weights.

    Raises:
        UserError: The model has no distribution over depth; its training makes no depth maps, so
            that their stride is not known; the weights do not fit.
    """
    from mmdet3d.registry import DATASETS

    register_all()
    check_data(config, "test_dataloader")
    model: Any = build_detector(config.model.get("student", config.model).to_dict())
    if TAP not in aliases(model):
        raise UserError(
            f"{type(model).__name__} has no distribution over depth",
            config.filename,
            "take a model that lifts image features, such as BEVDet",
        )
    load_student(model, checkpoint)
    with quiet_logs(), DefaultScope.overwrite_default_scope("mmdet3d"):
        dataset = DATASETS.build(_with_depth(config))
    model = model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    taps, errors = TapSet(model, [TAP], stop=True), DepthError(model.view_transform.bins)
    for index in track(range(len(dataset)), "depth"):
        data = model.data_preprocessor(pseudo_collate([dataset[index]]), False)
        sample = data["data_samples"][0]
        with torch.no_grad():
            logits = run_until_taps(model, taps, data["inputs"], [sample])[TAP]
        errors.add(logits.cpu(), sample.gt_depth_maps.cpu(), sample.gt_object_maps.cpu())
    return errors.result()


def _with_depth(config: Config) -> dict[str, Any]:
    """Return the test set with labels, and with depth maps of the training's stride."""
    made = [
        step
        for layer in layers(config.train_dataloader.dataset)
        for step in layer.get("pipeline", ())
        if step["type"] == "DepthMaps"
    ]
    if not made:
        raise UserError(
            "its training makes no depth maps",
            config.filename,
            "give train_pipeline the step DepthMaps, whose stride this needs",
        )
    dataset = innermost(config.test_dataloader.dataset)
    labels = dict(type="LoadAnnotations3D", with_bbox_3d=True, with_label_3d=True)
    depth = {**made[0], "points": RAW, "objects": True}
    pipeline = []
    for step in dataset["pipeline"]:
        pipeline.append(step)
        if step["type"] == "LoadPointsFromFile":
            pipeline += [dict(type="KeepRawPoints", key=RAW), labels]
        elif step["type"] == "LoadSurroundImages":
            pipeline.append(depth)
    return {**dataset, "pipeline": pipeline, "test_mode": False, "filter_empty_gt": False}
