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

from kd3d.core.spec import Extent, describe
from kd3d.core.taps import StopForward, TapSet


def run_heads(model: Any, inputs: dict[str, Any], data_samples: list[Any]) -> Any:
    """Run feature extraction and the head, without targets, losses or decoding.

    Args:
        model: An mmdet3d detector.
        inputs: Its preprocessed inputs.
        data_samples: Their samples; only metainfo is read.

    Returns:
        The head's raw output.
    """
    if "batch_input_metas" in inspect.signature(model.extract_feat).parameters:
        metas = [sample.metainfo for sample in data_samples]
        features = model.extract_feat(inputs, metas)
        return model.pts_bbox_head(features[1]) if hasattr(model, "pts_bbox_head") else features
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


def bev_grid(model: nn.Module) -> tuple[Extent, tuple[int, int]] | None:
    """Return the detector's voxel grid: extent in metres and (H along y, W along x) in voxels."""
    layer = getattr(getattr(model, "data_preprocessor", None), "voxel_layer", None)
    if layer is None:
        return None
    low, high = list(layer.point_cloud_range[:3]), list(layer.point_cloud_range[3:])
    size = layer.voxel_size
    columns, rows = (round((high[i] - low[i]) / size[i]) for i in (0, 1))
    return (low[0], low[1], high[0], high[1]), (rows, columns)


@torch.no_grad()
def probe(model: Any, taps: TapSet) -> None:
    """Fill ``taps.specs`` by one forward pass on made-up points.

    The model runs in eval mode, so that no buffer changes; the global random state is not touched.
    """
    from mmdet3d.structures import Det3DDataSample

    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(0)
    low, high = _probe_range(model)
    points = low + torch.rand((4096, len(low)), generator=generator) * (high - low)
    data = {"inputs": {"points": [points]}, "data_samples": [Det3DDataSample()]}
    model.data_preprocessor.to(device)
    batch = model.data_preprocessor(data, False)
    values = run_until_taps(model, taps, batch["inputs"], batch["data_samples"])
    grid = bev_grid(model)
    taps.specs = {name: describe(value, grid) for name, value in values.items()}
    model.train(was_training)


def _probe_range(model: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Return low and high of made-up points, one value an input channel, intensity in 0..1."""
    layer = getattr(model.data_preprocessor, "voxel_layer", None)
    limits = list(layer.point_cloud_range) if layer is not None else [0, -20, -2, 40, 20, 1]
    extra = max(_point_channels(model) - 3, 0)
    return torch.tensor(limits[:3] + [0.0] * extra), torch.tensor(limits[3:] + [1.0] * extra)


def _point_channels(model: nn.Module) -> int:
    """Return how many values a point of this detector's input has."""
    for name in ("voxel_encoder", "pts_voxel_encoder"):
        encoder = getattr(model, name, None)
        if encoder is None:
            continue
        if hasattr(encoder, "num_features"):
            return int(encoder.num_features)
        flags = ("_with_cluster_center", "_with_voxel_center", "_with_distance")
        decorated = sum(n * getattr(encoder, flag, False) for n, flag in zip((3, 3, 1), flags))
        return int(encoder.in_channels) - decorated
    return 4
