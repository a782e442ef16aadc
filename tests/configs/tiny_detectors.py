"""The detectors of a config on a small range, with few channels: wiring, not capacity."""

import hashlib
import json
import re

import torch

from kd3d.models.shrink import shrink_model
from kd3d.models.source import build_detector, detector_config, resolve_detector
from tests.models.families import on_range

LIMITS = [0.0, -12.8, -3.0, 51.2, 12.8, 1.0]
FEW = dict(width=0.25, depth=0.34)
FEW_PROPOSALS = dict(  # PointRCNN's second stage
    roi_head=dict(bbox_roi_extractor=dict(roi_layer=dict(num_sampled_points=32))),
    train_cfg=dict(rcnn=dict(sampler=dict(num=8))),
    test_cfg=dict(rpn=dict(nms_cfg=dict(nms_post=8))),
)
FEW_POINTS = dict(
    FEW_PROPOSALS, backbone=dict(num_points=(256, 64, 32, 16), num_samples=((4, 8),) * 4)
)
GRAPHS = dict(queries=40, neighbours=8)
# finest voxel edge of a config in metres -> how much larger its voxels become
GROWTH = {0.05: 4, 0.075: 8 / 3, 0.1: 2, 0.16: 2, 0.2: 2, 0.25: 1.6, 0.32: 4 / 3, 0.4: 1, 0.8: 1}

SURROUND = ("BEVDet", "BEVFusionDetector", "DepthPretraining", "LabelDetector")
SMALL = {  # stand for a detector of surround cameras and for its teachers
    "BEVDet": "bevdet_small_demo",
    "BEVFusionDetector": "bevfusion_small_demo",
    "CenterPoint": "centerpoint_pillar04_nusdemo",
    "DepthPretraining": "depth_small_demo",
    "LabelDetector": "labels_centerpoint_pillar04_nusdemo",
}
SMALL_IMAGES = {
    "LoadSurroundImages": dict(size=(96, 256)),
    "DepthMaps": dict(stride=8),
    "Resize3D": dict(scale=(256, 144)),
    "AffineResize": dict(img_scale=(320, 96)),
}
MONO = ("FCOSMono3D", "SMOKEMono3D")  # detectors of single images; student and teacher as narrow
FEW_CHANNELS = dict(
    backbone=dict(
        type="mmdet.ResNet", depth=18, base_channels=8, stem_channels=8, norm_eval=False
    ),
    widths=[8, 16, 32, 64],
)


def methods_of(model):
    """Return the method dicts of a distiller's config, none for a teacher or a baseline."""
    found = model.get("method") or []
    return found if isinstance(found, list) else [found]


def teachers_of(model):
    """Return the teachers of a distiller's config: an ensemble's members, whom it inherits from."""
    teachers = (model.get("teachers") or {}).values()
    inherit = model.get("inherit") or []
    sources = [one.get("teacher") for one in (inherit if isinstance(inherit, list) else [inherit])]
    members = [one for t in teachers for one in t.get("members", {"": t}).values()]
    return members + [one for one in sources if isinstance(one, dict)]


def make_tiny(model, weights):
    """Shrink all detectors of a distiller's config in place; frozen teachers get random weights.

    Voxels grow by one factor, so that models of different voxels keep their ratio. Surround
    detectors of demos are small as they are.

    Args:
        model: The distiller's config.
        weights: Folder for the teachers' checkpoints, one for each different teacher.
    """
    parts = [model.student, *(t for t in teachers_of(model) if {"config", "model"} & set(t))]
    whole = [resolve_detector(detector_config(part)) for part in parts]
    surround = any(one["type"] in SURROUND for one in whole)
    edges = [edge for edge in map(_edge, whole) if edge]
    for part, detector in zip(parts, whole):
        if surround:
            config = f"kd3d::_base_/models/{SMALL[detector['type']]}.py"
            if not re.search(r"demo[/.]", str(part.get("config"))):
                detector = resolve_detector(dict(config=config))
        elif _edge(detector):
            voxel_m = _edge(detector) * GROWTH[min(edges)]
            detector = shrink_model(on_range(detector, LIMITS), voxel_m=voxel_m, **FEW)
        elif detector["type"] in MONO:
            detector = _narrow_mono(detector)
        elif detector["type"] == "PointRCNN":
            few = dict(model=detector, override=FEW_POINTS, shrink=dict(width=FEW["width"]))
            detector = resolve_detector(few)
        for key in ("config", "shrink", "override"):
            part.pop(key, None)
        part.model = detector
        if part.get("checkpoint"):
            part.update(checkpoint=_checkpoint(detector, weights), allow_uncertified=True)
    for method in methods_of(model):
        if method["type"] == "pointdistiller":
            method.update(GRAPHS)


def _narrow_mono(model):
    """Return the detector on a narrow ResNet-18, with its own head on a map as wide as that needs."""
    model["backbone"] = dict(FEW_CHANNELS["backbone"])
    widths = FEW_CHANNELS["widths"]
    if model["type"] == "SMOKEMono3D":
        strides = [1, 2, 4, 8]
        model["neck"] = dict(
            type="SECONDFPN", in_channels=widths, out_channels=[16] * 4, upsample_strides=strides
        )
        return model
    model["neck"] |= dict(in_channels=widths, out_channels=32)
    head = model["bbox_head"]
    head |= dict(in_channels=32, feat_channels=32, cls_branch=(32,), dir_branch=(32,))
    head["reg_branch"] = tuple((32,) if branch else () for branch in head["reg_branch"])
    for key in ("attr_branch", "depth_branch", "centerness_branch"):
        if key in head:
            head[key] = (32,)
    return model


def _edge(model):
    """Return the edge of a voxel along x and y, None for detectors without voxels."""
    layer = (model.get("data_preprocessor") or {}).get("voxel_layer")
    return layer["voxel_size"][0] if layer else None


def _checkpoint(detector, folder):
    digest = hashlib.sha256(json.dumps(detector, sort_keys=True).encode()).hexdigest()[:16]
    path = folder / f"{digest}.pth"
    if not path.is_file():
        torch.manual_seed(1)
        teacher = build_detector(detector)
        teacher.init_weights()
        torch.save({"state_dict": teacher.state_dict()}, path)
    return str(path)
