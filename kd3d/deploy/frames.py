"""The frames on which an exported model is compared with torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config

from kd3d.core.probe import point_channels
from kd3d.deploy.refusals import CAMERAS
from kd3d.deploy.runtime.detector import Arrays, Detector
from kd3d.deploy.runtime.lift import Rig
from kd3d.engine.scoring import Boxes, Predictor, frame, test_frames
from kd3d.errors import UserError

SIZE_OF = "LoadSurroundImages"


@dataclass
class Frames:
    """Collated batches of one frame and where they are from, in words."""

    batches: list[dict[str, Any]]
    source: str


def frames_for(config: Config, model: Any, kind: str, count: int) -> Frames:
    """Return evenly spaced frames of the config's test set, or made-up ones where it has none.

    Made-up clouds are frames of the simulated street; made-up images are noise seen by the
    cameras of `kd3d.models.tiny_bev`.
    """
    if config.get("test_dataloader") and _annotations(config).is_file():
        dataset = test_frames(config)
        places = np.unique(np.linspace(0, len(dataset) - 1, count).round().astype(int))
        root = config.test_dataloader.dataset.get("data_root")
        words = f"{len(places)} of {len(dataset)} frames of {root}"
        return Frames([frame(dataset, int(place)) for place in places], words)
    if kind == CAMERAS:
        size = image_size(config)
        return Frames([_noise(size, seed) for seed in range(count)], f"{count} frames of noise")
    clouds = [_street(point_channels(model), seed) for seed in range(count)]
    return Frames(clouds, f"{count} simulated frames")


def image_size(config: Config) -> tuple[int, int]:
    """Return (H, W) of the images that the config's test pipeline gives.

    Raises:
        UserError: The config has no such pipeline.
    """
    dataset = (config.get("test_dataloader") or {}).get("dataset") or {}
    for step in dataset.get("pipeline") or ():
        if step["type"] == SIZE_OF:
            return int(step["size"][0]), int(step["size"][1])
    raise UserError(
        f"its test pipeline has no {SIZE_OF}, so the images' size is not known",
        config.filename,
        "give the config it was trained with, not student_config.py",
    )


def run_exported(detector: Detector, batch: dict[str, Any]) -> Boxes:
    """Return what an exported detector finds in a collated batch of one frame."""
    return detector.finish(raw_outputs(detector, batch)[1])


def exported_predictor(detector: Detector) -> Predictor:
    """Return `run_exported` of a detector."""
    return lambda batch: run_exported(detector, batch)


def raw_outputs(detector: Detector, batch: dict[str, Any]) -> tuple[Arrays, Arrays]:
    """Return the first graph's inputs and the head's raw outputs of a collated batch."""
    if detector.spec["kind"] != CAMERAS:
        inputs = detector.prepare_points(batch["inputs"]["points"][0].numpy())
        return inputs, detector.network(inputs)
    images, rig = camera_frame(batch)
    inputs = detector.prepare_images(images, rig)
    return inputs, detector.network_images(inputs, rig)


def camera_frame(batch: dict[str, Any]) -> tuple[np.ndarray, Rig]:
    """Return a collated batch's images (N, H, W, 3) and their rig."""
    meta = batch["data_samples"][0].metainfo
    rig = Rig.of(*(meta[key] for key in ("lidar2cam", "cam2img", "img_aug_matrix")))
    return batch["inputs"]["img"][0].permute(0, 2, 3, 1).numpy(), rig


def _annotations(config: Config) -> Path:
    dataset = config.test_dataloader.dataset
    return Path(dataset.get("data_root") or "") / (dataset.get("ann_file") or "none")


def _street(channels: int, seed: int) -> dict[str, Any]:
    from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes

    from kd3d.simulation.kitti import simulated_points

    points = torch.from_numpy(simulated_points(seed).astype(np.float32))
    points = torch.nn.functional.pad(points, (0, max(0, channels - 4)))[:, :channels]
    sample = Det3DDataSample(metainfo=dict(box_type_3d=LiDARInstance3DBoxes, sample_idx=seed))
    return {"inputs": {"points": [points]}, "data_samples": [sample]}


def _noise(size: tuple[int, int], seed: int) -> dict[str, Any]:
    from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes

    from kd3d.models.tiny_bev import IMAGE, rig

    known = rig()
    scale = np.diag([size[1] / IMAGE[1], size[0] / IMAGE[0], 1.0, 1.0])
    cameras = len(known["cam2img"])
    meta = known | dict(
        box_type_3d=LiDARInstance3DBoxes,
        sample_idx=seed,
        img_aug_matrix=[scale] * cameras,
        lidar_aug_matrix=np.eye(4),
    )
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (cameras, 3, *size), generator=generator, dtype=torch.uint8)
    return {"inputs": {"img": [images]}, "data_samples": [Det3DDataSample(metainfo=meta)]}
