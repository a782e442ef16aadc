"""Boxes, points and image sizes of KITTI frames."""

from __future__ import annotations

import struct

import numpy as np

from kd3d.data.kitti_files import Calibration, Labels, PathLike
from kd3d.errors import UserError


def lidar_boxes(labels: Labels, calibration: Calibration) -> np.ndarray:
    """Return (N, 7) LiDAR-frame boxes [x, y, z_bottom, dx, dy, dz, yaw] in metres and radians.

    dx is the length, along the heading; yaw is counter-clockwise from the x axis. DontCare rows
    give meaningless boxes; filter them before.
    """
    rect = np.column_stack([labels.location, np.ones(len(labels))])
    centres = rect @ np.linalg.inv(calibration.lidar_to_rect).T
    height, width, length = labels.dimensions.T if len(labels) else np.zeros((3, 0))
    yaw = -labels.rotation_y - np.pi / 2
    yaw = np.arctan2(np.sin(yaw), np.cos(yaw))
    return np.column_stack([centres[:, :3], length, width, height, yaw]).astype(np.float64)


def points_in_image(
    points: np.ndarray, calibration: Calibration, width: int, height: int
) -> np.ndarray:
    """Return a (N,) bool mask of the LiDAR points that project into the image, in front of it."""
    homogeneous = np.column_stack([points[:, :3], np.ones(len(points))])
    pixels = homogeneous @ calibration.lidar_to_image.T
    depth = pixels[:, 2]
    safe = np.where(depth > 0, depth, 1.0)
    u, v = pixels[:, 0] / safe, pixels[:, 1] / safe
    return (depth > 0) & (u >= 0) & (u < width) & (v >= 0) & (v < height)


def points_in_boxes(points: np.ndarray, boxes: np.ndarray) -> list[np.ndarray]:
    """Return for each (7,) LiDAR box a (N,) bool mask of the points strictly inside it."""
    masks = []
    for x, y, z, length, width, height, yaw in boxes.astype(np.float64):
        # a cheap cut first: only few of the points are near
        dx, dy = points[:, 0] - x, points[:, 1] - y
        mask = dx * dx + dy * dy <= (length * length + width * width) / 4
        near = np.flatnonzero(mask)
        cos, sin, dz = np.cos(yaw), np.sin(yaw), points[near, 2] - z
        along = cos * dx[near] + sin * dy[near]
        across = cos * dy[near] - sin * dx[near]
        mask[near] = (
            (np.abs(along) < length / 2) & (np.abs(across) < width / 2) & (dz > 0) & (dz < height)
        )
        masks.append(mask)
    return masks


def png_size(path: PathLike) -> tuple[int, int]:
    """Return width and height in pixels from a PNG file's header."""
    with open(path, "rb") as file:
        head = file.read(24)
    if len(head) < 24 or head[:8] != b"\x89PNG\r\n\x1a\n":
        raise UserError("not a PNG image", path, "copy it again")
    return struct.unpack(">II", head[16:24])
