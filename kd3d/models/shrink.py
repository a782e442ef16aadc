"""Smaller versions of stock mmdet3d configs: width, depth and voxel size."""

from __future__ import annotations

import copy
import math
from typing import Any

from kd3d.errors import UserError
from kd3d.models.shrink_cameras import LIFTING, check_cameras, narrow_cameras, shallow_cameras
from kd3d.models.shrink_points import narrow_point_rcnn

Model = dict[str, Any]
_SPARSE = ((16,), (32, 32, 32), (64, 64, 64), (64, 64, 64))  # SparseEncoder.encoder_channels
TRUNK = ("backbone", "neck", "bbox_head")
PARTS = {  # in the order of the data; the kinds of each that are known here
    "voxel_encoder": ("PillarFeatureNet", "HardVFE", "HardSimpleVFE", "DynamicSimpleVFE"),
    "middle_encoder": ("PointPillarsScatter", "SparseEncoder"),
    "backbone": ("SECOND",),
    "neck": ("SECONDFPN", "mmdet.FPN"),
    "bbox_head": ("Anchor3DHead", "CenterHead"),
}


def shrink_model(
    model: Model,
    width: float = 1.0,
    depth: float = 1.0,
    voxel_m: float | None = None,
    divisor: int = 4,
    where: str = "shrink",
) -> Model:
    """Return a stock model dict of a smaller detector of the same kind.

    Works on SECOND-like detectors: PointPillars (with SECOND's neck or a feature pyramid), SECOND
    and CenterPoint with pillars or voxels, its heads of deformable convolutions too; on kd3d's
    camera and fusion detectors (see `kd3d.models.shrink_cameras` for their image parts); and on
    the width of PointRCNN.

    Args:
        model: The stock model dict; it is not changed.
        width: Factor on all hidden channels; parameters shrink about with its square.
        depth: Factor on the number of layers of each backbone stage, at least one remains.
        voxel_m: New, larger pillar or voxel edge along x and y in metres.
        divisor: Channels are rounded to a multiple of this, at least this.
        where: For messages.

    Raises:
        UserError: A part that this function does not know, a factor outside (0, 1], or an edge
            that does not divide the range into whole strides.
    """
    for name, value in (("width", width), ("depth", depth)):
        if not 0 < value <= 1:
            raise UserError(f"{name} = {value}, wanted a factor in (0, 1]", where)
    if divisor < 1:
        raise UserError(f"divisor = {divisor}, wanted 1 or more", where)
    model = copy.deepcopy(model)
    scale = _Scale(width, divisor)
    if model.get("type") == "PointRCNN":
        if depth < 1 or voxel_m is not None:
            raise UserError("a PointRCNN has no depth and no voxel_m to shrink", where, "use width")
        if width < 1:
            narrow_point_rcnn(model, scale, where)
        return model
    lifts = model.get("type") in LIFTING
    if lifts:
        if voxel_m is not None:
            raise UserError("cells of a lifted map are not shrunk", where, "use width or depth")
        check_cameras(model, where)
    parts = _parts(model, TRUNK if lifts else tuple(PARTS), where)
    if width < 1:
        if lifts:
            narrow_cameras(model, width, scale)
        else:
            _narrow(parts, scale)
        _narrow_trunk(parts, scale, where)
    if depth < 1:
        layers = parts["backbone"]["layer_nums"]
        parts["backbone"]["layer_nums"] = [max(1, round(n * depth)) for n in layers]
        if lifts:
            shallow_cameras(model, depth)
    if voxel_m is not None:
        _coarsen(model, parts, voxel_m, where)
    return model


def _parts(model: Model, names: tuple[str, ...], where: str) -> Model:
    """Return the named parts of `model`, each of a kind that this file knows."""
    prefix = "pts_" if "pts_backbone" in model else ""
    parts: Model = {name: model.get(prefix + name) for name in names}
    missing = [prefix + name for name, part in parts.items() if part is None]
    if missing:
        raise UserError(f"{model.get('type')} has no {', '.join(missing)}", where)
    for name, part in parts.items():
        if part["type"] not in PARTS[name]:
            types = ", ".join(PARTS[name])
            raise UserError(f"cannot shrink a {part['type']}, only {types}", where)
    return parts


class _Scale:
    """Channels, or nested sequences of them, to the smaller: multiples of the divisor."""

    def __init__(self, width: float, divisor: int) -> None:
        self.width, self.divisor = width, divisor

    def __call__(self, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return type(value)(self(v) for v in value)
        return max(self.divisor, round(value * self.width / self.divisor) * self.divisor)


def _narrow(parts: Model, scale: _Scale) -> None:
    """Scale what makes the map of points."""
    encoder, middle, backbone = parts["voxel_encoder"], parts["middle_encoder"], parts["backbone"]
    if "feat_channels" in encoder:
        encoder["feat_channels"] = scale(encoder["feat_channels"])
    if middle["type"] == "PointPillarsScatter":
        middle["in_channels"] = encoder["feat_channels"][-1]
        backbone["in_channels"] = middle["in_channels"]
    else:
        planes = backbone["in_channels"] // middle.get("output_channels", 128)
        for key, default in (("output_channels", 128), ("base_channels", 16)):
            middle[key] = scale(middle.get(key, default))
        middle["encoder_channels"] = scale(middle.get("encoder_channels", _SPARSE))
        backbone["in_channels"] = middle["output_channels"] * planes


def _narrow_trunk(parts: Model, scale: _Scale, where: str) -> None:
    """Scale what reads the map."""
    backbone, neck, head = (parts[name] for name in TRUNK)
    backbone["out_channels"] = scale(backbone["out_channels"])
    neck["in_channels"] = backbone["out_channels"]
    neck["out_channels"] = scale(neck["out_channels"])
    levels = neck["out_channels"]  # one number for all levels of a pyramid
    _narrow_head(head, sum(levels) if isinstance(levels, (list, tuple)) else levels, scale, where)


def _narrow_head(head: Model, channels: int, scale: Any, where: str) -> None:
    head["in_channels"] = channels
    if head["type"] == "Anchor3DHead":
        head["feat_channels"] = channels
        return
    shared = head["share_conv_channel"] = scale(head.get("share_conv_channel", 64))
    separate = head.setdefault(
        "separate_head", {"type": "SeparateHead", "init_bias": -2.19, "final_kernel": 3}
    )
    separate["head_conv"] = scale(separate.get("head_conv", 64))
    deformable = separate.get("dcn_config")
    if deformable is not None:
        groups = deformable.get("groups", 1)
        if shared % groups:
            raise UserError(
                f"{shared} channels cannot be split into the {groups} groups of dcn_config",
                where,
                "choose another width or divisor",
            )
        deformable["in_channels"] = deformable["out_channels"] = shared


def _coarsen(model: Model, parts: Model, voxel_m: float, where: str) -> None:
    layer = model["data_preprocessor"]["voxel_layer"]
    low, high = layer["point_cloud_range"][:3], layer["point_cloud_range"][3:]
    old = list(layer["voxel_size"])
    if not max(old[:2]) <= voxel_m < min(high[0] - low[0], high[1] - low[1]):
        raise UserError(
            f"voxel_m = {voxel_m}, wanted an edge from the model's own {max(old[:2])} m up to its "
            "range",
            where,
        )
    cells = [(high[i] - low[i]) / voxel_m for i in (0, 1)]
    stride = (
        math.prod(parts["backbone"]["layer_strides"])
        if parts["middle_encoder"]["type"] == "PointPillarsScatter"
        else 8 * math.prod(parts["backbone"]["layer_strides"])
    )
    if any(abs(c - round(c)) > 1e-4 or round(c) % stride for c in cells):
        raise UserError(
            f"{voxel_m} m cuts the range into {cells[0]:.2f} x {cells[1]:.2f} cells, wanted "
            f"multiples of the stride {stride}",
            where,
            "choose another voxel_m or change point_cloud_range",
        )
    columns, rows = (round(c) for c in cells)
    size = [voxel_m, voxel_m, old[2]]
    layer["voxel_size"] = size
    if "voxel_size" in parts["voxel_encoder"]:
        parts["voxel_encoder"]["voxel_size"] = size
    middle = parts["middle_encoder"]
    if middle["type"] == "PointPillarsScatter":
        middle["output_shape"] = [rows, columns]
    else:
        middle["sparse_shape"] = [middle["sparse_shape"][0], rows, columns]
    if parts["bbox_head"]["type"] == "CenterHead":
        _coarsen_center(model, parts["bbox_head"], size, columns, rows)


def _coarsen_center(model: Model, head: Model, size: list[float], columns: int, rows: int) -> None:
    coder = head["bbox_coder"]
    coder["voxel_size"] = size[:2]
    cells = columns * rows // coder["out_size_factor"] ** 2
    coder["max_num"] = min(coder.get("max_num", 100), cells)  # its top-k fails on a smaller map
    for config in (model.get("train_cfg"), model.get("test_cfg")):
        config = (config or {}).get("pts", {})
        if "voxel_size" in config:
            config["voxel_size"] = size if len(config["voxel_size"]) == 3 else size[:2]
        if "grid_size" in config:
            config["grid_size"] = [columns, rows, config["grid_size"][2]]
