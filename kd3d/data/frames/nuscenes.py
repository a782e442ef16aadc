"""Key frames in the nuScenes layout, prepared by `kd3d prepare nuscenes`."""

from __future__ import annotations

import pickle
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from kd3d.data.frames.folder import Boxes, FrameFolder, Picture
from kd3d.data.nuscenes_pictures import (
    info_boxes,
    lidar_to_image,
    load_points,
    load_surround,
    mount_yaw,
)
from kd3d.data.nuscenes_tables import CATEGORIES
from kd3d.errors import UserError

POINTS = ("0 points", "1 to 5 points", "6 to 20 points", "21 points and more")
POINT_EDGES = (1, 6, 21)


class NuScenesFolder(FrameFolder):
    """Samples of an info file.

    Args:
        root: Folder of the data set.
        annotations: Name of the info file in it.

    Raises:
        UserError: There is no such file.
    """

    def __init__(self, root: Path, annotations: str) -> None:
        super().__init__(root)
        self.info_file = root / annotations
        if not self.info_file.is_file():
            fix = f"kd3d prepare nuscenes --data-root {root}"
            raise UserError("it has no infos yet", self.info_file, fix)

    @staticmethod
    def is_root(path: Path) -> bool:
        """Return whether there are key frames."""
        return (path / "samples").is_dir()

    @staticmethod
    def info_name(split: str) -> str:
        """Return the name of a split's info file."""
        return f"nuscenes_infos_{split}.pkl"

    @cached_property
    def content(self) -> dict[str, Any]:
        """The whole info file."""
        return pickle.loads(self.info_file.read_bytes())

    @cached_property
    def infos(self) -> dict[str, dict[str, Any]]:
        """The samples by token, in order of time."""
        return {info["token"]: info for info in self.content["data_list"]}

    @property
    def names(self) -> list[str]:
        """Tokens of the samples."""
        return list(self.infos)

    def truth(self, name: str) -> Boxes:
        """Return the boxes of the ten classes."""
        info = self.infos[name]
        labels = [one for one in info.get("instances", ()) if one["bbox_label_3d"] >= 0]
        names = np.array([CATEGORIES[one["bbox_label_3d"]] for one in labels], dtype=object)
        hits = np.array([one["num_lidar_pts"] for one in labels], dtype=int)
        told = np.array(POINTS, dtype=object)[np.digitize(hits, POINT_EDGES)]
        return Boxes.labels(names, info_boxes(info), LiDAR_points=told)

    def points(self, name: str) -> np.ndarray:
        """Return the key frame's cloud, (N, 5): with the ring."""
        return load_points(self.root, self.infos[name])

    def pictures(self, name: str) -> dict[str, Picture]:
        """Return the pictures of the cameras that are there."""
        info = self.infos[name]
        images = load_surround(self.root, info)
        return {
            camera: Picture(image, lidar_to_image(info["images"][camera]))
            for camera, image in images.items()
        }

    def to_global(self, name: str) -> np.ndarray:
        """Return the (4, 4) matrix from the LiDAR's frame to the map's."""
        info = self.infos[name]
        return np.array(info["ego2global"]) @ np.array(info["lidar_points"]["lidar2ego"])

    def mount_yaw(self, name: str) -> float:
        """Return the LiDAR's yaw on the vehicle, in radians: its own x points right."""
        return mount_yaw(self.infos[name])
