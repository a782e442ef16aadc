"""What a detector reads and what its taps hold, found by one forward pass on made-up inputs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from kd3d.core.run import ENCODE_LABELS, run_until_taps
from kd3d.core.spec import Classes, Extent, FeatureSpec, LevelsSpec, describe
from kd3d.core.taps import DECODED, TapSet, head_of

POINTS, IMAGE = "points", "img"
_PICTURE = (96, 320)  # height and width of the made-up image, multiples of every usual stride


def inputs_of(model: Any) -> tuple[str, ...]:
    """Return the raw inputs that a detector reads: ``"points"``, ``"img"``, both, or none.

    The image branch of mmdet3d's multi-modal family is ``img_backbone``; the camera detectors'
    (FCOS3D, SMOKE, PGD, ImVoxelNet, ...) only backbone is ``backbone``, and what tells them from
    point networks is a preprocessor that normalises images. An encoder of labels reads neither.
    """
    if encodes_labels(model):
        return ()
    parts = ["voxel_encoder", "pts_voxel_encoder", "pts_middle_encoder"]
    if not lifts(model):  # there it may encode a map of images alone
        parts.append("pts_backbone")
    lidar = any(hasattr(model, part) for part in parts)
    normalises = bool(getattr(model.data_preprocessor, "_enable_normalize", False))
    camera = hasattr(model, "img_backbone") or (not lidar and normalises)
    return (POINTS,) * (lidar or not camera) + (IMAGE,) * camera


def lifts(model: Any) -> bool:
    """Whether a detector lifts the images of several cameras into a map (`kd3d.models.bev`)."""
    return hasattr(getattr(model, "view_transform", None), "grid")


def encodes_labels(model: Any) -> bool:
    """Whether a detector reads the ground truth (`kd3d.models.bev.label_detector`)."""
    return hasattr(model, ENCODE_LABELS)


def bev_grid(model: Any) -> tuple[Extent, tuple[int, int]] | None:
    """Return the detector's voxel grid: extent in metres and (H along y, W along x) in voxels.

    It is the grid of the voxelisation, or, for a camera detector that lifts its features into a
    volume (ImVoxelNet) or a map (`lifts`), of that; the painted map's of an encoder of labels; None
    for detectors without a bird's-eye view.
    """
    layer = getattr(getattr(model, "data_preprocessor", None), "voxel_layer", None)
    if layer is not None:
        low, high = list(layer.point_cloud_range[:3]), list(layer.point_cloud_range[3:])
        size = layer.voxel_size
        columns, rows = (round((high[i] - low[i]) / size[i]) for i in (0, 1))
        return (low[0], low[1], high[0], high[1]), (rows, columns)
    if lifts(model):
        return model.view_transform.grid.extent_m, model.view_transform.grid.shape
    if encodes_labels(model):
        return model.pts_backbone.grid.extent_m, model.pts_backbone.grid.shape
    if hasattr(model, "n_voxels") and hasattr(model, "prior_generator"):
        x_min, y_min, _, x_max, y_max, _ = model.prior_generator.ranges[0]
        return (x_min, y_min, x_max, y_max), (model.n_voxels[1], model.n_voxels[0])
    return None


@torch.no_grad()
def probe(model: Any, taps: TapSet) -> None:
    """Fill ``taps.specs`` by one forward pass on made-up points, images and calibration.

    The model runs in eval mode, so that no buffer changes; the global random state is not touched.
    Maps of an image branch have the layout ``"image"``, without a metric extent.
    """
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    model.data_preprocessor.to(device)
    batch = model.data_preprocessor(made_up(model), False)
    values = run_until_taps(model, taps, batch["inputs"], batch["data_samples"])
    taps.specs = {name: _spec(model, taps, name, value) for name, value in values.items()}
    model.train(was_training)


def _spec(model: Any, taps: TapSet, name: str, value: Any) -> FeatureSpec:
    """Return the spec of a tap, or of each of several."""
    if name in DECODED:
        return FeatureSpec(7, "boxes", classes=classes_of(head_of(model)))
    several = taps.members[name]
    paths = [taps.taps[tap].address.module for tap in several]
    if several == [name]:
        return spec_of(model, paths[0], value)
    return LevelsSpec.of(spec_of(model, path, one) for path, one in zip(paths, value))


def spec_of(model: Any, path: str, value: Any) -> FeatureSpec:
    """Return the spec of what the module at `path` gave.

    Args:
        model: The detector.
        path: Of a module in it.
        value: Its output.
    """
    grid = bev_grid(model)
    if grid is not None and not _in_image(model, path):
        spec = describe(value, grid)
        if spec.layout == "center_head":
            spec = replace(spec, classes=classes_of(model.get_submodule(path)))
        return spec
    spec = describe(value, None)
    return (
        replace(spec, layout="image")
        if spec.layout == "map" and IMAGE in inputs_of(model)
        else spec
    )


def classes_of(head: Any) -> Classes:
    """Return the names of a centre head's classes, task by task; other heads do not know them."""
    return tuple(tuple(task) for task in getattr(head, "class_names", ()))


def made_up(model: Any) -> dict[str, Any]:
    """Return a collated batch of one sample with the raw inputs that `model` reads.

    Points are uniform in its range, intensity in 0..1; the image is noise in 0..255; the camera
    sits at the LiDAR's origin, looks along x and sees 53 degrees. Labels are one car.
    """
    from mmdet3d.structures import Box3DMode, Det3DDataSample, LiDARInstance3DBoxes
    from mmengine.structures import InstanceData

    generator = torch.Generator().manual_seed(0)
    sample = Det3DDataSample(
        metainfo=dict(box_type_3d=LiDARInstance3DBoxes, box_mode_3d=Box3DMode.LIDAR)
    )
    inputs, wanted = {}, inputs_of(model)
    if POINTS in wanted:
        low, high = _point_range(model)
        points = low + torch.rand((4096, len(low)), generator=generator) * (high - low)
        inputs[POINTS] = [points]
    if IMAGE in wanted:
        views = (2,) if lifts(model) else ()
        inputs[IMAGE] = [255 * torch.rand((*views, 3, *_PICTURE), generator=generator)]
        sample.set_metainfo(_surround() if views else _camera())
    if encodes_labels(model):
        car = torch.tensor([[5.0, 3.0, -1.0, 4.0, 1.8, 1.6, 0.3]])
        boxes, labels = LiDARInstance3DBoxes(car), torch.zeros(1, dtype=torch.long)
        sample.gt_instances_3d = InstanceData(bboxes_3d=boxes, labels_3d=labels)
    return {"inputs": inputs, "data_samples": [sample]}


def _camera() -> dict[str, Any]:
    """Return the metainfo of the made-up image, as mmdet3d's pipelines pack it."""
    height, width = _PICTURE
    cam2img = torch.eye(4, dtype=torch.float64)
    cam2img[0, 0] = cam2img[1, 1] = width
    cam2img[0, 2], cam2img[1, 2] = width / 2, height / 2
    lidar2cam = torch.zeros((4, 4), dtype=torch.float64)
    lidar2cam[0, 1] = lidar2cam[1, 2] = -1.0
    lidar2cam[2, 0] = lidar2cam[3, 3] = 1.0
    return dict(
        img_shape=_PICTURE,
        ori_shape=_PICTURE,
        pad_shape=_PICTURE,
        scale_factor=(1.0, 1.0),
        flip=False,
        cam2img=cam2img.numpy(),
        lidar2cam=lidar2cam.numpy(),
        lidar2img=(cam2img @ lidar2cam).numpy(),
    )


def _surround() -> dict[str, Any]:
    """Return the metainfo of two made-up images, as ``PackBranches`` packs it: ahead and behind."""
    ahead, turn = _camera(), np.diag([-1.0, -1.0, 1.0, 1.0])
    several = {key: [ahead[key]] * 2 for key in ("cam2img", "lidar2cam", "lidar2img")}
    for key in ("lidar2cam", "lidar2img"):
        several[key] = [ahead[key], ahead[key] @ turn]
    return ahead | several | dict(img_aug_matrix=[np.eye(4)] * 2, lidar_aug_matrix=np.eye(4))


def _point_range(model: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return low and high of made-up points, one value an input channel, intensity in 0..1."""
    layer = getattr(model.data_preprocessor, "voxel_layer", None)
    limits = list(layer.point_cloud_range) if layer is not None else [0, -20, -2, 40, 20, 1]
    extra = max(point_channels(model) - 3, 0)
    return torch.tensor(limits[:3] + [0.0] * extra), torch.tensor(limits[3:] + [1.0] * extra)


def point_channels(model: Any) -> int:
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


def _in_image(model: nn.Module, path: str) -> bool:
    """Whether the module at `path` works on image features rather than on the BEV grid."""
    if path.startswith("img_") or ".fusion_layer.lateral_convs" in path:
        return True
    lifts = hasattr(model, "neck_3d")  # before the lift, backbone and neck see the image
    return lifts and path.split(".")[0] in ("backbone", "neck")
