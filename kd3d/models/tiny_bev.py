"""Tiny detectors in the bird's-eye view of three cameras, and made-up batches for them."""

from __future__ import annotations

import copy
import functools
import math
from typing import Any

import numpy as np
import torch

from kd3d.models.source import resolve_detector

RANGE = [-25.6, -19.2, -5.0, 38.4, 25.6, 3.0]  # 40 x 28 cells of 1.6 m: neither square nor centred
CELL_M = 1.6
IMAGE = (64, 128)  # height and width
STRIDE = 8
CAMERAS = 3
CLASSES = ["car", "truck", "pedestrian"]
_TASKS = [dict(num_class=3, class_names=CLASSES)]
Detector = dict[str, Any]


def bevdet(channels: int = 16) -> Detector:
    """Return a BEVDet that is taught its depth.

    Args:
        channels: Of the lifted map.
    """
    return copy.deepcopy(_bevdet("bevdet_small_demo", channels))


def bevfusion(channels: int = 16, mode: str = "gated") -> Detector:
    """Return a detector of cameras and pillars of 0.8 m; `mode`: see ``BEVFuser``."""
    model = copy.deepcopy(_bevdet("bevfusion_small_demo", channels))
    size, rows = [0.8, 0.8, 8.0], _rows(0.8)
    model["data_preprocessor"]["voxel_layer"] |= dict(point_cloud_range=RANGE, voxel_size=size)
    model["pts_voxel_encoder"] |= dict(voxel_size=size, point_cloud_range=RANGE)
    model["pts_middle_encoder"]["output_shape"] = rows
    model["bev_fuser"] |= dict(
        camera_channels=channels, out_channels=channels, mode=mode, lidar_stride=2
    )
    return model


def centerpoint(pillar_m: float = 0.8, stride: int = 2) -> Detector:
    """Return a CenterPoint in the same frame and range.

    Args:
        pillar_m: Edge of a pillar.
        stride: Pillars a cell of its head.
    """
    size = [pillar_m, pillar_m, 8.0]
    strides = [2 / stride if stride > 2 else 2 // stride, 4 // stride]  # whole ones are integers
    model = copy.deepcopy(_plain("centerpoint_pillar04_nusdemo"))
    model["data_preprocessor"]["voxel_layer"] |= dict(point_cloud_range=RANGE, voxel_size=size)
    model["pts_voxel_encoder"] |= dict(voxel_size=size, point_cloud_range=RANGE)
    model["pts_middle_encoder"]["output_shape"] = _rows(pillar_m)
    model["pts_backbone"] |= dict(out_channels=[16, 32], layer_nums=[1, 1], layer_strides=[2, 2])
    model["pts_neck"] |= dict(in_channels=[16, 32], out_channels=[16, 16], upsample_strides=strides)
    return _headed(model, 32, size, stride)


def labels() -> Detector:
    """Return an encoder of labels for the neck and head of `centerpoint`."""
    model = centerpoint()
    for part in ("pts_voxel_encoder", "pts_middle_encoder"):
        model.pop(part)
    model["type"] = "LabelDetector"
    model["data_preprocessor"] = dict(type="Det3DDataPreprocessor")
    model["pts_backbone"] = dict(
        type="LabelBackbone",
        classes=len(CLASSES),
        x=[RANGE[0], RANGE[3], CELL_M],
        y=[RANGE[1], RANGE[4], CELL_M],
        out_channels=[16, 32],
        layer_strides=[1, 2],
    )
    return model


def _bevdet(name: str, channels: int) -> Detector:
    model = copy.deepcopy(_plain(name))
    model["img_backbone"] |= dict(base_channels=8, stem_channels=8)
    model["img_neck"] |= dict(in_channels=[16, 32, 64], out_channels=[8, 8, 8])
    model["img_depth_net"] |= dict(in_channels=24, context_channels=channels)
    model["view_transform"] |= dict(
        x=[RANGE[0], RANGE[3], CELL_M], y=[RANGE[1], RANGE[4], CELL_M], depth=[1.0, 41.0, 1.0]
    )
    model["pts_backbone"] |= dict(
        in_channels=channels, out_channels=[16, 32], layer_nums=[1, 1], layer_strides=[1, 2]
    )
    model["pts_neck"] |= dict(in_channels=[16, 32], out_channels=[16, 16], upsample_strides=[1, 2])
    return _headed(model, 32, [CELL_M, CELL_M, 8.0], 1)


def _headed(model: Detector, channels: int, size: list[float], stride: int) -> Detector:
    """Fill in what a centre head is told of its grid, in all three places."""
    grid = dict(voxel_size=size, out_size_factor=stride)
    place = dict(pc_range=RANGE[:2], voxel_size=size[:2], out_size_factor=stride)
    rows, columns = _rows(size[0])
    model["pts_bbox_head"] |= dict(in_channels=channels, share_conv_channel=16, tasks=_TASKS)
    model["pts_bbox_head"]["separate_head"]["head_conv"] = 16
    model["pts_bbox_head"]["bbox_coder"] |= place | dict(max_num=50)
    model["train_cfg"]["pts"] |= grid | dict(
        point_cloud_range=RANGE, grid_size=[columns, rows, 1], max_objs=50
    )
    model["test_cfg"]["pts"] |= place
    return model


def _rows(cell_m: float) -> tuple[int, int]:
    """Return rows and columns of a grid over `RANGE`."""
    return round((RANGE[4] - RANGE[1]) / cell_m), round((RANGE[3] - RANGE[0]) / cell_m)


@functools.cache
def _plain(name: str) -> Detector:
    return resolve_detector(dict(config=f"kd3d::_base_/models/{name}.py"))


def rig() -> dict[str, list[np.ndarray]]:
    """Return ``cam2img``, ``lidar2cam`` and ``lidar2img`` (4x4) of three cameras around the LiDAR.

    They look along x and 120 degrees to both sides, see 100 degrees each, and sit half a metre from
    the LiDAR, 0.3 m below it.
    """
    height, width = IMAGE
    cam2img = np.eye(4)
    cam2img[0, 0] = cam2img[1, 1] = width / 2 / math.tan(math.radians(50))
    cam2img[:2, 2] = (width - 1) / 2, (height - 1) / 2
    found: dict[str, list[np.ndarray]] = {"cam2img": [], "lidar2cam": [], "lidar2img": []}
    for i in range(CAMERAS):
        sine, cosine = math.sin(2 * math.pi * i / 3), math.cos(2 * math.pi * i / 3)
        lidar2cam = np.eye(4)
        lidar2cam[:3, :3] = [[sine, -cosine, 0], [0, 0, -1], [cosine, sine, 0]]
        lidar2cam[:3, 3] = -lidar2cam[:3, :3] @ [0.5 * cosine, 0.5 * sine, -0.3]
        found["cam2img"].append(cam2img)
        found["lidar2cam"].append(lidar2cam)
        found["lidar2img"].append(cam2img @ lidar2cam)
    return found


def batch(samples: int = 2, seed: int = 0, boxes: int = 3) -> dict[str, Any]:
    """Return a raw collated batch: clouds of 5 values, images of noise, boxes with a velocity.

    Args:
        samples: Number of samples.
        seed: Of everything random.
        boxes: Boxes in a sample.
    """
    from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes
    from mmengine.structures import InstanceData

    from kd3d.data.depth_maps import depth_map, project

    generator = torch.Generator().manual_seed(seed)
    low, high = torch.tensor(RANGE[:3]), torch.tensor(RANGE[3:])
    inputs: dict[str, list] = {"points": [], "img": []}
    annotated, known = [], rig()
    for i in range(samples):
        centre = low + (0.2 + 0.6 * torch.rand((boxes, 3), generator=generator)) * (high - low)
        centre[:, 2] = -1.8
        size = torch.tensor([3.9, 1.6, 1.5]).expand(boxes, 3)
        rest = torch.rand((boxes, 3), generator=generator) * 3  # yaw and velocity
        points = low + torch.rand((800, 3), generator=generator) * (high - low)
        near = centre[:, None] + torch.randn((boxes, 40, 3), generator=generator)
        points = torch.cat([points, near.flatten(0, 1)])
        inputs["points"].append(torch.cat([points, torch.zeros(len(points), 2)], 1))
        pixels = torch.rand((CAMERAS, 3, *IMAGE), generator=generator)
        inputs["img"].append((255 * pixels).to(torch.uint8))
        sample = Det3DDataSample(
            metainfo=dict(
                known,
                box_type_3d=LiDARInstance3DBoxes,
                sample_idx=i,
                img_aug_matrix=[np.eye(4)] * CAMERAS,
                lidar_aug_matrix=np.eye(4),
            )
        )
        sample.gt_instances_3d = InstanceData(
            bboxes_3d=LiDARInstance3DBoxes(torch.cat([centre, size, rest], 1), box_dim=9),
            labels_3d=torch.randint(0, 3, (boxes,), generator=generator),
        )
        seen = [project(points.numpy(), one, np.eye(4)) for one in known["lidar2img"]]
        maps = np.stack([depth_map(one, IMAGE, STRIDE) for one in seen])
        sample.gt_depth_maps = torch.from_numpy(maps)
        annotated.append(sample)
    return {"inputs": inputs, "data_samples": annotated}
