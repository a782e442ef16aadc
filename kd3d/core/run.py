"""Running a detector of any mmdet3d family up to its raw head outputs.

`mode="tensor"` is not usable for this in mmdet3d 1.4: it calls ``bbox_head.forward`` directly, so
hooks on heads never fire, and ``MVXTwoStageDetector._forward`` is empty.
"""

from __future__ import annotations

import contextlib
import inspect
from typing import Any

import torch
from torch import nn

from kd3d.core.taps import BOXES, StopForward, TapSet


def run_heads(model: Any, inputs: dict[str, Any], data_samples: list[Any]) -> Any:
    """Run feature extraction and the head, without targets, losses or decoding.

    The second stage of a two-stage detector starts from decoded proposals, so there the whole
    prediction is run.

    Args:
        model: An mmdet3d detector.
        inputs: Its preprocessed inputs.
        data_samples: Their samples; only metainfo is read.

    Returns:
        The head's raw output; of a two-stage detector the samples with its detections.
    """
    if hasattr(model, "roi_head"):
        return model.predict(inputs, [sample.new() for sample in data_samples])
    parameters = inspect.signature(model.extract_feat).parameters
    if "batch_input_metas" in parameters:
        metas = [sample.metainfo for sample in data_samples]
        features = model.extract_feat(inputs, metas)
        return model.pts_bbox_head(features[1]) if hasattr(model, "pts_bbox_head") else features
    if "batch_data_samples" in parameters:  # ImVoxelNet: the volume, and which voxels are seen
        features, valid = model.extract_feat(inputs, data_samples)
        features = (*features, valid) if model.coord_type == "DEPTH" else features
    else:
        features = model.extract_feat(inputs)
    return model.bbox_head(features) if getattr(model, "bbox_head", None) is not None else features


def run_until_taps(
    model: nn.Module, taps: TapSet, inputs: dict, data_samples: list
) -> dict[str, Any]:
    """Run `model` no further than its last tap and return the taps' values."""
    taps.arm()
    with contextlib.suppress(StopForward):
        run_heads(model, inputs, data_samples)
    return taps.pop()


def run_teacher(model: nn.Module, taps: TapSet, inputs: dict, data_samples: list) -> dict[str, Any]:
    """Run `model` no further than its last tap; the tap ``boxes`` is decoded."""
    values = run_until_taps(model, taps, inputs, data_samples)
    if BOXES in values:
        values[BOXES] = decode_boxes(model, values[BOXES], data_samples)
    return values


@torch.no_grad()
def watch(model: nn.Module, taps: TapSet, inputs: dict, data_samples: list) -> dict[str, Any]:
    """Run a learner as a teacher, when it is not its turn: eval, no gradients, up to its taps."""
    was_training, stop = model.training, taps.stop
    model.eval()
    taps.stop = True
    try:
        return run_teacher(model, taps, inputs, data_samples)
    finally:
        taps.stop = stop
        model.train(was_training)


@torch.no_grad()
def decode_boxes(model: Any, head_output: Any, data_samples: list) -> list[dict[str, torch.Tensor]]:
    """Turn a head's raw output into detections, by the head's own decoding and suppression.

    Args:
        model: An mmdet3d detector.
        head_output: What its head's forward returned for the batch.
        data_samples: The batch's samples; their metainfo gives the box type.

    Returns:
        A dict a sample: ``boxes`` (N, 7 or 9) [x, y, z_bottom, dx, dy, dz, yaw, (vx, vy)] in the
        augmented LiDAR frame, ``scores`` (N,) in 0..1, ``labels`` (N,).
    """
    head = model.pts_bbox_head if hasattr(model, "pts_bbox_head") else model.bbox_head
    metas = [sample.metainfo for sample in data_samples]
    if "preds_dicts" in inspect.signature(head.predict_by_feat).parameters:
        found = head.predict_by_feat(head_output, metas)
    else:
        found = head.predict_by_feat(*head_output, batch_input_metas=metas)
    return [
        {"boxes": one.bboxes_3d.tensor, "scores": one.scores_3d, "labels": one.labels_3d}
        for one in found
    ]
