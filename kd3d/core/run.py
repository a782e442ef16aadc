"""Running a detector of any mmdet3d family up to its raw head outputs.

`mode="tensor"` is not usable for this in mmdet3d 1.4: it calls ``bbox_head.forward`` directly, so
hooks on heads never fire, and ``MVXTwoStageDetector._forward`` is empty.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from kd3d.core.taps import DECODED, PROPOSALS, StopForward, TapSet
from kd3d.losses.precision import in_float32

ENCODE_LABELS = "encode_labels"  # what a detector has that reads the ground truth
CANDIDATES, OVERLAP, KEPT = 256, 0.8, 128  # of the tap ``proposals``
# What a head is set to for proposals, by the names that mmdet3d's two kinds of heads use.
_GENEROUS = {
    "nms_pre": CANDIDATES,
    "pre_max_size": CANDIDATES,
    "max_num": KEPT,
    "post_max_size": KEPT,
    "nms_thr": OVERLAP,
    "nms_type": "rotate",
    "score_thr": 0.0,
    "score_threshold": 0.0,
}


def run_heads(model: Any, inputs: dict[str, Any], data_samples: list[Any]) -> Any:
    """Run feature extraction and the head, without targets, losses or decoding.

    The second stage of a two-stage detector starts from decoded proposals, so there the whole
    prediction is run.

    Args:
        model: An mmdet3d detector.
        inputs: Its preprocessed inputs.
        data_samples: Their samples; only metainfo is read, by an encoder of labels the labels.

    Returns:
        The head's raw output; of a two-stage detector the samples with its detections.
    """
    if hasattr(model, "roi_head"):
        return model.predict(inputs, [sample.new() for sample in data_samples])
    if hasattr(model, ENCODE_LABELS):
        return model.pts_bbox_head(model.encode_labels(data_samples))
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
    """Run `model` no further than its last tap; boxes are decoded, see `decoded`."""
    return decoded(model, run_until_taps(model, taps, inputs, data_samples), data_samples)


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


def decoded(model: Any, values: dict[str, Any], data_samples: list) -> dict[str, Any]:
    """Return tap name -> value with the taps ``boxes`` and ``proposals`` turned into detections.

    ``boxes`` are what the detector would answer. ``proposals`` are its `KEPT` best boxes a sample,
    whatever their scores, after suppression of those that overlap a better one by more than
    `OVERLAP` (rotated IoU in the bird's-eye view; within a class of an anchor head, within a task
    of a centre head) among about the `CANDIDATES` best.
    """
    for name in DECODED:
        if name in values:
            values[name] = decode_boxes(model, values[name], data_samples, name == PROPOSALS)
    return values


@torch.no_grad()
def decode_boxes(
    model: Any, head_output: Any, data_samples: list, generous: bool = False
) -> list[dict[str, torch.Tensor]]:
    """Turn a head's raw output into detections, by the head's own decoding and suppression.

    Args:
        model: An mmdet3d detector.
        head_output: What its head's forward returned for the batch.
        data_samples: The batch's samples; their metainfo gives the box type.
        generous: Return proposals, see `decoded`.

    Returns:
        A dict a sample: ``boxes`` (N, 7 or 9) [x, y, z_bottom, dx, dy, dz, yaw, (vx, vy)] in the
        augmented LiDAR frame, ``scores`` (N,) in 0..1, ``labels`` (N,).
    """
    head = model.pts_bbox_head if hasattr(model, "pts_bbox_head") else model.bbox_head
    head_output = in_float32(head_output)
    metas = [sample.metainfo for sample in data_samples]
    with _generous(head, head_output) if generous else contextlib.nullcontext():
        if "preds_dicts" in inspect.signature(head.predict_by_feat).parameters:
            found = head.predict_by_feat(head_output, metas)
        else:
            found = head.predict_by_feat(*head_output, batch_input_metas=metas)
    most = KEPT if generous else None
    return [_best(one.bboxes_3d.tensor, one.scores_3d, one.labels_3d, most) for one in found]


def _best(
    boxes: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor, most: int | None
) -> dict[str, torch.Tensor]:
    if most is not None and len(scores) > most:  # of several tasks
        best = scores.topk(most).indices
        boxes, scores, labels = boxes[best], scores[best], labels[best]
    return {"boxes": boxes, "scores": scores, "labels": labels}


@contextlib.contextmanager
def _generous(head: Any, head_output: Any) -> Iterator[None]:
    """Let a head give proposals; afterwards it is set as before."""
    coder, config = head.bbox_coder, head.test_cfg
    is_center = isinstance(head_output[0][0], dict)
    limits = ("max_num", "score_threshold") if is_center else ()
    before = {key: getattr(coder, key) for key in limits}
    head.test_cfg = copy.copy(config)
    head.test_cfg.update({key: value for key, value in _GENEROUS.items() if key in config})
    if is_center:  # no more peaks than cells
        cells = head_output[0][0]["heatmap"][0, 0].numel()
        coder.max_num, coder.score_threshold = min(CANDIDATES, cells), None
    elif getattr(head, "use_sigmoid_cls", False):  # else every class has all candidates
        scores = torch.cat([level.flatten(1) for level in head_output[0]], 1).sigmoid()
        lowest = scores.topk(min(CANDIDATES, scores.shape[1])).values.min()
        head.test_cfg.score_thr = float(lowest) * (1 - 1e-6)
    try:
        yield
    finally:
        head.test_cfg = config
        for key, value in before.items():
            setattr(coder, key, value)
