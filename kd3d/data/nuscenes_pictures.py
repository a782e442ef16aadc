"""Samples of a nuScenes folder as pictures, so that a person sees whether all fits together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kd3d.data.image_files import read_image
from kd3d.data.nuscenes_tables import LIDAR
from kd3d.errors import UserError

_REACH_M = 51.2


def load_points(root: Path, info: dict[str, Any]) -> np.ndarray:
    """Return (N, 5) float32 x, y, z, intensity, ring of an info's key frame, LiDAR frame."""
    path = root / "samples" / LIDAR / info["lidar_points"]["lidar_path"]
    return np.fromfile(path, dtype=np.float32).reshape(-1, 5)


def lidar_to_image(image: dict[str, Any]) -> np.ndarray:
    """Return the (4, 4) matrix from the LiDAR to homogeneous pixels of an info's image."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(image["cam2img"])[:3, :3]
    return matrix @ np.array(image["lidar2cam"])


def info_boxes(info: dict[str, Any]) -> np.ndarray:
    """Return (N, 7) boxes x, y, z_bottom, dx, dy, dz, yaw of the ten classes, LiDAR frame."""
    rows = [i["bbox_3d"] for i in info["instances"] if i["bbox_label_3d"] >= 0]
    boxes = np.array(rows, dtype=float).reshape(-1, 7)
    boxes[:, 2] -= boxes[:, 5] / 2
    return boxes


def mount_yaw(info: dict[str, Any]) -> float:
    """Return the LiDAR's yaw in the ego frame, in radians; its own x points right."""
    mount = np.array(info["lidar_points"]["lidar2ego"])
    return float(np.arctan2(mount[1, 0], mount[0, 0]))


def load_surround(root: Path, info: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return the (H, W, 3) uint8 RGB pictures by channel, of those that are there."""
    paths = {
        camera: root / "samples" / camera / image["img_path"]
        for camera, image in info["images"].items()
    }
    return {camera: read_image(path) for camera, path in paths.items() if path.is_file()}


def turned(points: np.ndarray, angle_rad: float) -> np.ndarray:
    """Return rows x, y, ... turned about z."""
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    rows = points.copy()
    rows[:, :2] = points[:, :2] @ np.array([[cos, sin], [-sin, cos]])
    return rows


def turned_boxes(boxes: np.ndarray, angle_rad: float) -> np.ndarray:
    """Return (N, >= 7) boxes turned about z."""
    rows = turned(boxes, angle_rad)
    rows[:, 6] += angle_rad
    return rows


def draw_pictures(
    infos: Sequence[dict[str, Any]], root: Path, folder: Path, *, simulated: bool, redraw: bool
) -> tuple[Path, ...]:
    """Draw samples from above and in their six images.

    Args:
        infos: The samples.
        root: The data set.
        folder: Where ``<token>_bev.png`` and ``<token>_images.png`` go.
        simulated: Whether the titles say so.
        redraw: False leaves pictures that are there.
    """
    paths: list[Path] = []
    for info in infos:
        name = info["token"][:8]
        both = tuple(folder / f"{name}_{kind}.png" for kind in ("bev", "images"))
        if redraw or not all(path.exists() for path in both):
            folder.mkdir(parents=True, exist_ok=True)
            _draw(info, root, ("simulated " if simulated else "") + f"sample {name}", *both)
        paths += both
    return tuple(dict.fromkeys(paths))


def _draw(info: dict[str, Any], root: Path, title: str, above: Path, images: Path) -> None:
    from kd3d.viz.bev import draw_bev
    from kd3d.viz.surround import draw_surround

    points, boxes, yaw = load_points(root, info), info_boxes(info), mount_yaw(info)
    reach = (-_REACH_M, _REACH_M)
    draw_bev(
        turned(points, yaw),
        {"ground truth": turned_boxes(boxes, yaw)},
        x_range_m=reach,
        y_range_m=reach,
        path=above,
        title=title,
        letters=False,
    )
    pictures = load_surround(root, info)
    if len(pictures) < len(info["images"]):
        raise UserError("a picture of this sample is missing", f"sample {info['token']}")
    matrices = {camera: lidar_to_image(image) for camera, image in info["images"].items()}
    draw_surround(pictures, {"ground truth": boxes}, matrices, points=points, path=images)
