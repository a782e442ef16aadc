"""Detections of a 3D detector as rows of a KITTI result file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kd3d.data.kitti_files import Labels
from kd3d.data.kitti_geometry import png_size

NEAR_M = 0.1  # nothing nearer to the camera than this is projected
# Corners of a unit box: along the heading, height, across; then the twelve edges between them.
_CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-1.0, 0.0) for z in (-0.5, 0.5)])
_EDGES = np.array(
    [(i, j) for i in range(8) for j in range(i + 1, 8) if (_CORNERS[i] != _CORNERS[j]).sum() == 1]
)


@dataclass(frozen=True)
class FrameGeometry:
    """How one frame's LiDAR, camera and image relate.

    Attributes:
        lidar_to_camera: (4, 4) LiDAR to the rectified camera frame.
        camera_to_image: (3, 4) rectified camera frame to homogeneous pixels (P2).
        width_px: Image width.
        height_px: Image height.
    """

    lidar_to_camera: np.ndarray
    camera_to_image: np.ndarray
    width_px: int
    height_px: int


def lidar_to_camera_boxes(boxes: np.ndarray, lidar_to_camera: np.ndarray) -> np.ndarray:
    """Convert boxes; the inverse of `kd3d.data.kitti_files.lidar_boxes`.

    Args:
        boxes: (N, 7 or more) LiDAR [x, y, z_bottom, dx, dy, dz, yaw, ...]; the rest is ignored.
        lidar_to_camera: (4, 4).

    Returns:
        (N, 7) [x, y_bottom, z, length, height, width, rotation_y], rectified camera frame.
    """
    centre = boxes[:, :3] @ lidar_to_camera[:3, :3].T + lidar_to_camera[:3, 3]
    return np.column_stack([centre, boxes[:, [3, 5, 4]], -boxes[:, 6] - np.pi / 2])


def project_boxes(boxes: np.ndarray, camera_to_image: np.ndarray) -> np.ndarray:
    """Return the (N, 4) pixel rectangles around the visible part of camera-frame boxes.

    Edges are cut at `NEAR_M` before the camera, so a box that reaches behind it projects rightly;
    a box wholly behind gives an empty rectangle (inf, inf, -inf, -inf).

    Args:
        boxes: (N, 7) as returned by `lidar_to_camera_boxes`.
        camera_to_image: (3, 4).
    """
    local = _CORNERS * boxes[:, None, 3:6]  # (N, 8, 3)
    cos, sin = np.cos(boxes[:, 6, None]), np.sin(boxes[:, 6, None])
    x, z = local[..., 0], local[..., 2]
    corners = np.stack([cos * x + sin * z, local[..., 1], cos * z - sin * x], axis=-1)
    corners += boxes[:, None, :3]
    points = corners @ camera_to_image[:, :3].T + camera_to_image[:, 3]  # (N, 8, 3) u*w, v*w, w
    start, end = points[:, _EDGES[:, 0]], points[:, _EDGES[:, 1]]
    crosses = (start[..., 2] < NEAR_M) != (end[..., 2] < NEAR_M)  # (N, 12)
    span = np.where(crosses, end[..., 2] - start[..., 2], 1.0)
    cut = start + ((NEAR_M - start[..., 2]) / span)[..., None] * (end - start)
    points = np.concatenate([points, cut], axis=1)
    seen = np.concatenate([points[:, :8, 2] >= NEAR_M, crosses], axis=1)[..., None]
    pixels = points[..., :2] / np.where(seen, points[..., 2:], 1.0)
    low = np.where(seen, pixels, np.inf).min(axis=1)
    high = np.where(seen, pixels, -np.inf).max(axis=1)
    return np.concatenate([low, high], axis=1)


def result_rows(
    boxes: np.ndarray, names: Sequence[str], scores: np.ndarray, geometry: FrameGeometry
) -> Labels:
    """Return the KITTI rows of the boxes that show in the image.

    Boxes whose projection lies wholly outside the image, or behind the camera, are dropped (KITTI
    labels only what the camera sees); the other rectangles are clipped to the image.

    Args:
        boxes: (N, 7) as returned by `lidar_to_camera_boxes`.
        names: N type names.
        scores: (N,).
        geometry: Of this frame.
    """
    size = np.array([geometry.width_px, geometry.height_px], dtype=np.float64)
    rectangle = project_boxes(boxes, geometry.camera_to_image)
    shown = (rectangle[:, :2] < size).all(axis=1) & (rectangle[:, 2:] > 0).all(axis=1)
    boxes, rectangle = boxes[shown], rectangle[shown]
    clipped = np.clip(rectangle, 0.0, np.tile(size, 2))
    unknown = np.full(len(boxes), -1.0)
    yaw = _wrap(boxes[:, 6])
    return Labels(
        name=np.asarray(names, dtype=object)[shown],
        truncated=unknown,
        occluded=unknown.astype(np.int64),
        alpha=_wrap(yaw - np.arctan2(boxes[:, 0], boxes[:, 2])),
        bbox=clipped,
        dimensions=boxes[:, [4, 5, 3]],
        location=boxes[:, :3],
        rotation_y=yaw,
        score=np.asarray(scores, dtype=np.float64)[shown],
    )


def image_size(folder: Path, frame: str) -> tuple[int, int] | None:
    """Return width and height of ``<folder>/<frame>.png`` in pixels, None where there is none."""
    path = folder / f"{frame}.png"
    return png_size(path) if path.is_file() else None


def _wrap(angle: np.ndarray) -> np.ndarray:
    return np.arctan2(np.sin(angle), np.cos(angle))
