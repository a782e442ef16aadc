"""Frames in the KITTI layout."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from kd3d.data.frames.folder import Boxes, FrameFolder, Picture
from kd3d.data.image_files import read_image
from kd3d.data.kitti_files import (
    CLASSES,
    Calibration,
    Labels,
    read_calibration,
    read_labels,
    read_points,
)
from kd3d.data.kitti_geometry import lidar_boxes

OCCLUSION = {0: "0 visible", 1: "1 partly hidden", 2: "2 largely hidden"}
UNKNOWN = "3 unknown"
CAMERA = "image 2"


class KittiFolder(FrameFolder):
    """Frames of ``ROOT/training``; those of ``ImageSets/val.txt`` where there is such a file."""

    @staticmethod
    def is_root(path: Path) -> bool:
        """Return whether there are clouds."""
        return (path / "training" / "velodyne").is_dir()

    @cached_property
    def names(self) -> list[str]:
        """Names of the frames."""
        listed = self.root / "ImageSets" / "val.txt"
        named = listed.read_text().split() if listed.is_file() else []
        return named or sorted(
            path.stem for path in (self.root / "training" / "velodyne").glob("*.bin")
        )

    def truth(self, name: str) -> Boxes:
        """Return the labels of the evaluated classes."""
        path = self.file("label_2", name, "txt")
        if not path.is_file():
            return Boxes.labels(np.zeros(0, dtype=object), np.zeros((0, 7)))
        rows = self.evaluated_rows(path, scores=False)
        levels = [OCCLUSION.get(int(level), UNKNOWN) for level in rows.occluded]
        boxes = lidar_boxes(rows, self.calibration(name))
        return Boxes.labels(rows.name, boxes, occlusion=np.array(levels, dtype=object))

    def found(self, path: Path, name: str) -> Boxes:
        """Return the boxes of a result file of a frame."""
        rows = self.evaluated_rows(path, scores=True)
        return Boxes(rows.name, lidar_boxes(rows, self.calibration(name)), rows.score)

    @staticmethod
    def evaluated_rows(path: Path, scores: bool) -> Labels:
        """Return the rows of the evaluated classes of a label or result file."""
        rows = read_labels(path, scores=scores)
        return rows[np.isin(rows.name.astype(str), CLASSES)]

    def points(self, name: str) -> np.ndarray:
        """Return the cloud, (N, 4)."""
        return read_points(self.file("velodyne", name, "bin"))

    def pictures(self, name: str) -> dict[str, Picture]:
        """Return the picture of the left colour camera, where there is one."""
        both = (self.file("image_2", name, end) for end in ("png", "jpg"))
        path = next((path for path in both if path.is_file()), None)
        if path is None:
            return {}
        return {CAMERA: Picture(read_image(path), self.calibration(name).lidar_to_image)}

    def file(self, folder: str, name: str, end: str) -> Path:
        """Return a file of a frame."""
        return self.root / "training" / folder / f"{name}.{end}"

    def calibration(self, name: str) -> Calibration:
        """Return a frame's calibration."""
        return read_calibration(self.file("calib", name, "txt"))
