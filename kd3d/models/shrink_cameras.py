"""Narrower and shallower image parts of the detectors that lift images into a map."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kd3d.errors import UserError

Model = dict[str, Any]
Scale = Callable[[Any], Any]
LIFTING = ("BEVDet", "BEVFusionDetector")
CAMERA_PARTS = ("img_backbone", "img_neck", "img_depth_net", "bev_fuser")
KINDS = {
    "img_backbone": ("mmdet.ResNet", "mmdet.MobileNetV2"),
    "img_neck": ("SECONDFPN", "mmdet.FPN"),
    "img_depth_net": ("DepthNet", "CameraAwareDepthNet"),
    "bev_fuser": ("BEVFuser",),
    "pts_voxel_encoder": ("PillarFeatureNet",),
    "pts_middle_encoder": ("PointPillarsScatter",),
}
RESNETS = {18: (8, 1), 34: (16, 1), 50: (16, 4), 101: (33, 4), 152: (50, 4)}  # blocks, expansion
MOBILENET = (16, 24, 32, 64, 96, 160, 320)  # channels of its stages


def check_cameras(model: Model, where: str) -> None:
    """Raise UserError where a part before the map is of a kind that is not known here."""
    for name, kinds in KINDS.items():
        found = (model.get(name) or {}).get("type")
        if found is not None and found not in kinds:
            raise UserError(f"cannot shrink a {found}, only {', '.join(kinds)}", where)
    depth = model["img_backbone"].get("depth")
    if depth is not None and depth not in RESNETS:
        raise UserError(f"cannot shrink a ResNet of depth {depth}, only {list(RESNETS)}", where)


def narrow_cameras(model: Model, width: float, scale: Scale) -> None:
    """Scale the hidden channels of all before the map's backbone, in place.

    Bins of the depth and cells of the map stay. Pretrained weights do not fit a narrower image
    backbone, so its ``init_cfg`` is taken out.

    Args:
        model: A model dict that `check_cameras` accepts.
        width: The factor.
        scale: Number of channels, or nested sequences of them, to the smaller.
    """
    maps = _narrow_backbone(model["img_backbone"], width, scale)
    neck, level = model.get("img_neck"), model.get("level", 0)
    if neck:
        neck["in_channels"], neck["out_channels"] = maps, scale(neck["out_channels"])
        out = neck["out_channels"]
        seen = out if isinstance(out, int) else sum(out)
    else:
        seen = maps[level]
    net = model["img_depth_net"]
    net["in_channels"], net["context_channels"] = seen, scale(net["context_channels"])
    if net["type"] == "CameraAwareDepthNet":
        net["mid_channels"] = scale(net.get("mid_channels", 256))
    low, high, step = model["view_transform"]["z"]
    lifted = net["context_channels"] * round((high - low) / step)
    fuser = model.get("bev_fuser")
    if fuser:
        encoder = model["pts_voxel_encoder"]
        encoder["feat_channels"] = scale(encoder["feat_channels"])
        lidar = model["pts_middle_encoder"]["in_channels"] = encoder["feat_channels"][-1]
        fuser |= dict(lidar_channels=lidar, camera_channels=lifted)
        lifted = fuser["out_channels"] = scale(fuser["out_channels"])
    model["pts_backbone"]["in_channels"] = lifted


def shallow_cameras(model: Model, depth: float) -> None:
    """Take layers out of all before the map's backbone, in place.

    A ResNet becomes the nearest shallower one of the same blocks (152, 101, 50; 34, 18), without
    pretrained weights, which are another network's; where there is none it stays as it is, as a
    MobileNetV2 does. The depth net keeps at least one residual block.

    Args:
        model: A model dict that `check_cameras` accepts.
        depth: Factor on the number of layers.
    """
    backbone, net = model["img_backbone"], model["img_depth_net"]
    if backbone["type"] == "mmdet.ResNet":
        blocks, expansion = RESNETS[backbone["depth"]]
        kin = {d: n for d, (n, e) in RESNETS.items() if e == expansion and n <= blocks}
        nearest = min(kin, key=lambda d: abs(kin[d] - depth * blocks))
        if nearest != backbone["depth"]:
            backbone |= dict(depth=nearest, init_cfg=None)
    if net["type"] == "CameraAwareDepthNet":
        net["blocks"] = max(1, round(net.get("blocks", 3) * depth))


def _narrow_backbone(backbone: Model, width: float, scale: Scale) -> list[int]:
    """Scale an image backbone and return the channels of its maps."""
    from mmdet.models.utils import make_divisible

    backbone["init_cfg"] = None
    if backbone["type"] == "mmdet.ResNet":
        base = backbone.get("base_channels", 64)
        backbone["stem_channels"] = scale(backbone.get("stem_channels") or base)
        base = backbone["base_channels"] = scale(base)
        expansion = RESNETS[backbone["depth"]][1]
        return [base * 2**i * expansion for i in backbone.get("out_indices", (0, 1, 2, 3))]
    factor = backbone["widen_factor"] = backbone.get("widen_factor", 1.0) * width
    return [make_divisible(MOBILENET[i] * factor, 8) for i in backbone["out_indices"]]
