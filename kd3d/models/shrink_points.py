"""Narrower versions of PointRCNN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kd3d.errors import UserError

Model = dict[str, Any]


def narrow_point_rcnn(model: Model, scale: Callable[[Any], Any], where: str) -> None:
    """Scale all hidden channels of a PointRCNN model dict, in place.

    Args:
        model: The model dict.
        scale: Number of channels, or nested sequences of them, to the smaller.
        where: For messages.

    Raises:
        UserError: A part that this function does not know.
    """
    backbone, neck = model["backbone"], model["neck"]
    rpn, bbox = model["rpn_head"], model["roi_head"]["bbox_head"]
    for part, kind in (
        (backbone, "PointNet2SAMSG"),
        (neck, "PointNetFPNeck"),
        (rpn, "PointRPNHead"),
        (bbox, "PointRCNNBboxHead"),
    ):
        if part["type"] != kind:
            raise UserError(f"cannot shrink a {part['type']}, only {kind}", where)
    backbone["sa_channels"] = scale(backbone["sa_channels"])
    stages = len(backbone["sa_channels"])
    aggregated = [a and scale(a) for a in backbone.get("aggregation_channels") or [None] * stages]
    backbone["aggregation_channels"] = tuple(aggregated)
    out = [backbone["in_channels"] - 3]
    for mlps, single in zip(backbone["sa_channels"], aggregated):
        out.append(single or sum(mlp[-1] for mlp in mlps))
    levels, below = [], out[-1]
    for level, skip in zip(neck["fp_channels"], out[-2::-1]):
        levels.append((below + skip, *scale(tuple(level[1:]))))
        below = levels[-1][-1]
    neck["fp_channels"] = tuple(levels)
    layers = rpn["pred_layer_cfg"]
    layers["in_channels"] = below
    for key in ("cls_linear_channels", "reg_linear_channels"):
        layers[key] = scale(layers[key])
    bbox["mlp_channels"] = scale(bbox["mlp_channels"])
    bbox["mlp_channels"][-1] = below  # it is joined with the points' features
    bbox["sa_channels"] = scale(bbox["sa_channels"])
    layers = bbox["pred_layer_cfg"]
    layers["in_channels"] = bbox["sa_channels"][-1][-1]
    for key in ("cls_conv_channels", "reg_conv_channels"):
        layers[key] = scale(layers[key])
