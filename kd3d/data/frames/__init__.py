"""Frames of a data set's folder with labels, clouds and pictures: one file a layout."""

from __future__ import annotations

from pathlib import Path

from kd3d.data.frames.folder import Boxes, FrameFolder, Picture
from kd3d.data.frames.kitti import KittiFolder
from kd3d.data.frames.nuscenes import NuScenesFolder
from kd3d.errors import UserError

__all__ = [
    "Boxes", "FrameFolder", "KittiFolder", "NuScenesFolder", "Picture", "is_data", "open_folder",
]  # fmt: skip


def open_folder(root: Path, annotations: str | None = None) -> FrameFolder:
    """Return the frames of a data set's folder.

    Args:
        root: The folder.
        annotations: An info file in it, for nuScenes; by default the validation split's.

    Raises:
        UserError: Neither layout, or a nuScenes folder that was not prepared.
    """
    if KittiFolder.is_root(root):
        return KittiFolder(root)
    if NuScenesFolder.is_root(root):
        return NuScenesFolder(root, annotations or NuScenesFolder.info_name("val"))
    raise UserError(
        "neither KITTI's layout (training/velodyne) nor nuScenes' (samples)",
        root,
        "name a data set's folder, or a run's",
    )


def is_data(path: Path) -> bool:
    """Return whether a folder is a data set's."""
    return KittiFolder.is_root(path) or NuScenesFolder.is_root(path)
