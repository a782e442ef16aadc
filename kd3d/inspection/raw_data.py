"""Frames of a config's training data as they are stored: clouds and labels, no augmentation."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS
from torch import Tensor

from kd3d.console import track
from kd3d.data.wrapped import innermost
from kd3d.engine.mistakes import building, check_data
from kd3d.engine.register import register_all
from kd3d.errors import UserError

LOADS, IMAGES = "Load", "Image"


@dataclass(frozen=True)
class RawFrame:
    """One frame.

    Attributes:
        boxes: (N, 7) [x, y, z_bottom, dx, dy, dz, yaw], LiDAR frame, metres and radians.
        labels: (N,) class indices; those of other classes are left out.
        points: (M, 3) x, y, z in metres, None where the pipeline loads no cloud.
    """

    boxes: Tensor
    labels: Tensor
    points: Tensor | None


def raw_dataset(config: Config, loader: str = "train_dataloader") -> Any:
    """Return the data set of a loader with nothing but the loading in its pipeline.

    Raises:
        UserError: The config has no such loader, or its data are not there.
    """
    register_all()
    if not config.get(loader):
        raise UserError(f"the config has no {loader}", config.filename, "see configs/")
    check_data(config, loader)
    wanted = innermost(config[loader].to_dict()["dataset"])
    loads = [t for t in wanted.get("pipeline", []) if _loads(t["type"])]
    wanted |= dict(pipeline=loads, test_mode=False, filter_empty_gt=False)
    with DATASETS.switch_scope_and_registry("mmdet3d") as registry, building(config):
        return registry.build(wanted)


def raw_frames(dataset: Any, most: int) -> Iterator[RawFrame]:
    """Yield evenly spread frames of `raw_dataset`, at most so many, with progress."""
    count = min(most, len(dataset))
    picks = np.linspace(0, len(dataset) - 1, count).round().astype(int).tolist()
    for index in track(picks, "frames"):
        info = copy.deepcopy(dataset.get_data_info(index))
        info |= dict(box_type_3d=dataset.box_type_3d, box_mode_3d=dataset.box_mode_3d)
        data = dataset.pipeline(info)
        truth = data["ann_info"]
        labels = torch.as_tensor(np.asarray(truth["gt_labels_3d"])).long()
        boxes = truth["gt_bboxes_3d"].tensor[:, :7].float()
        points = data.get("points")
        cloud = None if points is None else points.tensor[:, :3].float()
        yield RawFrame(boxes[labels >= 0], labels[labels >= 0], cloud)


def _loads(name: str) -> bool:
    return name.startswith(LOADS) and IMAGES not in name
