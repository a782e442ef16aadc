"""Frames of a data set's folder: KITTI's layout, or nuScenes' with the infos of kd3d prepare."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from kd3d.data.kitti_files import CLASSES, read_calibration, read_labels, read_points
from kd3d.data.kitti_geometry import lidar_boxes
from kd3d.errors import UserError, did_you_mean
from kd3d.viz.viewer.scene import BoxGroup, Picture, Scene

TRUTH = "ground truth"
_NUS_VALUES = 5  # of a point


class FrameFolder(Protocol):
    """A data set's folder."""

    @property
    def names(self) -> list[str]:
        """Names of its frames, in order."""

    def scene(self, name: str) -> Scene:
        """Return a frame with its labels and pictures."""


@dataclass(frozen=True)
class KittiFolder:
    """Frames of ``ROOT/training``; those of ``ImageSets/val.txt`` where there is such a file."""

    root: Path

    @cached_property
    def names(self) -> list[str]:
        """Names of the frames."""
        listed = self.root / "ImageSets" / "val.txt"
        named = listed.read_text().split() if listed.is_file() else []
        return named or sorted(p.stem for p in (self.root / "training/velodyne").glob("*.bin"))

    def scene(self, name: str) -> Scene:
        """Return a frame with its labels of the evaluated classes and its picture."""
        folder = self.root / "training"
        scene = Scene(name, read_points(folder / "velodyne" / f"{name}.bin"))
        calibration = read_calibration(folder / "calib" / f"{name}.txt")
        if (folder / "label_2" / f"{name}.txt").is_file():
            labels = read_labels(folder / "label_2" / f"{name}.txt", scores=False)
            labels = labels[np.isin(labels.name.astype(str), CLASSES)]
            boxes = lidar_boxes(labels, calibration)
            scene.groups[TRUTH] = BoxGroup(boxes, [str(word) for word in labels.name])
        image = _image(folder / "image_2" / f"{name}.png")
        if image is not None:
            scene.pictures["image 2"] = Picture(image, calibration.lidar_to_image)
        return scene


@dataclass(frozen=True)
class NuscenesFolder:
    """Key frames of a prepared folder: of ``nuscenes_infos_val.pkl``, or of another info file."""

    root: Path
    infos: Path

    @cached_property
    def _content(self) -> dict[str, Any]:
        return pickle.loads(self.infos.read_bytes())

    @cached_property
    def names(self) -> list[str]:
        """Names of the frames: their tokens."""
        return [info["token"] for info in self._content["data_list"]]

    def scene(self, name: str) -> Scene:
        """Return a key frame with its valid labels and all cameras."""
        info = self._content["data_list"][self.names.index(name)]
        cloud = self.root / "samples" / "LIDAR_TOP" / info["lidar_points"]["lidar_path"]
        scene = Scene(name, read_points(cloud, _NUS_VALUES))
        classes = {place: word for word, place in self._content["metainfo"]["categories"].items()}
        boxes, names = [], []
        for one in info.get("instances", ()):
            if one["bbox_3d_isvalid"] and one["bbox_label_3d"] in classes:
                x, y, z, *rest = one["bbox_3d"]
                boxes.append([x, y, z - rest[2] / 2, *rest])  # the infos have the middle
                names.append(classes[one["bbox_label_3d"]])
        scene.groups[TRUTH] = BoxGroup(np.array(boxes).reshape(-1, 7), names)
        for camera, one in info["images"].items():
            image = _image(self.root / "samples" / camera / one["img_path"])
            if image is not None:
                scene.pictures[camera] = Picture(image, _projection(one))
        return scene


def open_folder(root: Path, annotations: str | None = None) -> FrameFolder:
    """Return the frames of a data set's folder.

    Args:
        root: The folder.
        annotations: An info file in it; by default the validation split's.

    Raises:
        UserError: Neither layout, or a nuScenes folder that was not prepared.
    """
    if (root / "training" / "velodyne").is_dir():
        return KittiFolder(root)
    infos = root / (annotations or "nuscenes_infos_val.pkl")
    if (root / "samples").is_dir():
        if not infos.is_file():
            fix = f"kd3d prepare nuscenes --data-root {root}"
            raise UserError("it has no infos yet", infos, fix)
        return NuscenesFolder(root, infos)
    raise UserError(
        "neither KITTI's layout (training/velodyne) nor nuScenes' (samples)",
        root,
        "name a data set's folder, or a run's",
    )


def is_data(path: Path) -> bool:
    """Whether a folder is a data set's."""
    return (path / "training" / "velodyne").is_dir() or (path / "samples").is_dir()


def chosen_frames(known: list[str], ids: Iterable[str], count: int) -> list[str]:
    """Return the named frames, or evenly spaced ones.

    Raises:
        UserError: No frame of that name.
    """
    ids = list(ids)
    for name in ids:
        if name not in known:
            raise UserError(f"no frame {name!r}", "--ids", did_you_mean(name, known))
    places = np.unique(np.linspace(0, len(known) - 1, min(count, len(known))).round().astype(int))
    return ids or [known[place] for place in places] if known else []


def _image(path: Path) -> np.ndarray | None:
    if not path.is_file():
        return None
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def _projection(camera: dict[str, Any]) -> np.ndarray:
    intrinsic = np.eye(4)
    intrinsic[:3, :3] = camera["cam2img"]
    return intrinsic @ np.asarray(camera["lidar2cam"])
