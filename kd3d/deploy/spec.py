"""``model.json``: what the runtime must know of a detector beside its weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmdet3d.models.dense_heads import CenterHead

from kd3d.core.probe import point_channels
from kd3d.core.taps import head_of
from kd3d.deploy.graphs import Part
from kd3d.deploy.refusals import CAMERAS, part_of
from kd3d.models.bev.frustum import pixel_frustum

FORMAT_VERSION = 1


def model_spec(
    model: Any, kind: str, parts: list[Part], suffix: str, image_size: tuple[int, int] | None,
    classes: list[str],
) -> dict[str, Any]:  # fmt: skip
    """Return what goes into ``model.json``.

    Args:
        model: The stock detector.
        kind: See `kd3d.deploy.refusals.kind_of`.
        parts: Its graphs.
        suffix: Of their files, ``"onnx"`` or ``"pt"``.
        image_size: (H, W) of a camera detector's images, before padding.
        classes: Names of the labels.
    """
    spec = {
        "format": FORMAT_VERSION,
        "kind": kind,
        "classes": classes,
        "graphs": {
            part.name: {
                "file": f"{part.name}.{suffix}",
                "inputs": {name: list(value.shape) for name, value in part.example.items()},
                "outputs": part.outputs,
            }
            for part in parts
        },
        "head": _centre_head(model) if isinstance(head_of(model), CenterHead) else _anchors(model),
    }
    if kind == CAMERAS:
        assert image_size is not None, "a camera detector's images have a size"
        spec["preprocess"] = _images(model, image_size)
        spec["lift"] = _lift(model, parts[0], image_size)
    else:
        spec["preprocess"] = _pillars(model)
    return spec


def padded_size(model: Any, size: tuple[int, int]) -> tuple[int, int]:
    """Return (H, W) of images after the preprocessor's padding."""
    step = model.data_preprocessor.pad_size_divisor
    return -(-size[0] // step) * step, -(-size[1] // step) * step


def grid_anchors(model: Any, parts: list[Part]) -> list[np.ndarray]:
    """Return an anchor head's anchors, (H W A, 7 or more) float32 a level."""
    head: Any = head_of(model)
    shapes = [s for name, s in zip(parts[-1].outputs, parts[-1].sizes) if name.endswith("_cls")]
    made = head.prior_generator.grid_anchors([s[-2:] for s in shapes], device="cpu")
    return [one.reshape(-1, head.box_code_size).float().numpy() for one in made]


def _pillars(model: Any) -> dict[str, Any]:
    layer, encoder = model.data_preprocessor.voxel_layer, part_of(model, "voxel_encoder")
    return {
        "point_values": point_channels(model),
        "range": _floats(layer.point_cloud_range),
        "voxel_size": _floats(layer.voxel_size),
        "grid": [int(n) for n in layer.grid_shape[:2]],
        "max_points": int(layer.max_num_points),
        "max_pillars": int(layer.max_voxels[1]),
        "with_mean": bool(encoder._with_cluster_center),
        "with_middle": bool(encoder._with_voxel_center),
        "with_distance": bool(encoder._with_distance),
        "legacy": bool(encoder.legacy),
        "middle_offset": _floats((encoder.x_offset, encoder.y_offset, encoder.z_offset)),
    }


def _images(model: Any, size: tuple[int, int]) -> dict[str, Any]:
    given = model.data_preprocessor
    return {
        "size": list(size),
        "padded": list(padded_size(model, size)),
        "pad_value": float(given.pad_value),
        "to_rgb": bool(given._channel_conversion),
        "mean": _floats(given.mean.flatten()) if given._enable_normalize else [0.0] * 3,
        "std": _floats(given.std.flatten()) if given._enable_normalize else [1.0] * 3,
        "camera_numbers": hasattr(model.img_depth_net, "depth_gate"),
    }


def _lift(model: Any, image: Part, size: tuple[int, int]) -> dict[str, Any]:
    view, shape = model.view_transform, image.sizes[0][-2:]
    frustum = pixel_frustum(view.bins, shape, padded_size(model, size), view.official_parity)
    return {
        "u": _floats(frustum[0, 0, :, 0]),
        "v": _floats(frustum[0, :, 0, 1]),
        "depths": _floats(frustum[:, 0, 0, 2]),
        "depth_bins": int(view.bins.count),
        "low": list(view.grid.low),
        "step": list(view.grid.step),
        "cells": list(view.grid.count),
        "towards_zero": bool(view.official_parity),
        "mean_smoothing": view.mean_smoothing,
    }


def _centre_head(model: Any) -> dict[str, Any]:
    head: Any = head_of(model)
    coder, config = head.bbox_coder, head.test_cfg
    return {
        "type": "centres",
        "classes_a_task": [int(n) for n in head.num_classes],
        "low": _floats(coder.pc_range[:2]),
        "voxel_size": _floats(coder.voxel_size[:2]),
        "out_size_factor": float(coder.out_size_factor),
        "max_num": int(coder.max_num),
        "decode_score": float(coder.score_threshold or 0.0),
        "keep_range": _floats(coder.post_center_range),
        "log_sizes": bool(head.norm_bbox),
        "suppress": str(config["nms_type"]),
        "min_radius": _floats(config.get("min_radius") or []),
        "score": float(config.get("score_threshold", 0.0)),
        "overlap": float(config.get("nms_thr", 1.0)),
        "most_before": int(config.get("pre_max_size", coder.max_num)),
        "most_after": int(config["post_max_size"]),
        "final_range": _floats(config.get("post_center_limit_range") or []),
    }


def _anchors(model: Any) -> dict[str, Any]:
    head: Any = head_of(model)
    config = head.test_cfg
    return {
        "type": "anchors",
        "classes": int(head.num_classes),
        "most_before": int(config.get("nms_pre", -1)),
        "score": float(config.get("score_thr", 0.0)),
        "suppress": "rotated" if config.use_rotate_nms else "upright",
        "overlap": float(config.nms_thr),
        "most_after": int(config.max_num),
        "dir_offset": float(head.dir_offset),
        "dir_limit_offset": float(head.dir_limit_offset),
    }


def _floats(values: Any) -> list[float]:
    """Return numbers as they are in float32 tensors or lists."""
    values = values.tolist() if isinstance(values, (torch.Tensor, np.ndarray)) else values
    return [float(value) for value in values]
