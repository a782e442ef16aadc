"""Six camera pictures in one, with projected points and boxes."""

from __future__ import annotations

import io
import os

import numpy as np

from kd3d.fileio import write_bytes
from kd3d.viz.image import draw_image_boxes
from kd3d.viz.style import pixels

ORDER = (
    ("CAM_FRONT_LEFT", "CAM_FRONT", "CAM_FRONT_RIGHT"),
    ("CAM_BACK_LEFT", "CAM_BACK", "CAM_BACK_RIGHT"),
)
NEAR_RGB, FAR_RGB = np.array([255.0, 90.0, 40.0]), np.array([70.0, 110.0, 255.0])
FAR_M = 50.0


def draw_surround(
    images: dict[str, np.ndarray],
    boxes: dict[str, np.ndarray],
    lidar_to_image: dict[str, np.ndarray],
    *,
    points: np.ndarray | None = None,
    path: str | os.PathLike[str] | None = None,
    width_px: int = 640,
) -> np.ndarray:
    """Draw boxes, and points coloured by depth, into six pictures, front row above.

    Args:
        images: (H, W, 3) uint8 RGB by nuScenes channel, of one size.
        boxes: (N, 7) LiDAR-frame boxes by group, in the colours of `draw_bev`.
        lidar_to_image: (4, 4) LiDAR to homogeneous pixels by channel.
        points: (N, >=3) LiDAR-frame points, or none; red near, blue from 50 m on.
        path: PNG file to write as well.
        width_px: Width of each picture in the result.

    Returns:
        (2 H', 3 W', 3) uint8 RGB.
    """
    rows = []
    for channels in ORDER:
        shown = []
        for channel in channels:
            image = _enlarged(images[channel], width_px)
            scale = np.diag([image.shape[1] / images[channel].shape[1]] * 2 + [1.0, 1.0])
            matrix = scale @ lidar_to_image[channel]
            if points is not None:
                image = _with_points(image, points, matrix)
            shown.append(pixels(draw_image_boxes(image, boxes, matrix, legend=False)))
        rows.append(np.concatenate(shown, axis=1))
    picture = np.concatenate(rows)
    if path is not None:
        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "png")
        write_bytes(path, buffer.getvalue())
    return picture


def _enlarged(image: np.ndarray, width_px: int) -> np.ndarray:
    from PIL import Image

    height, width = image.shape[:2]
    size = (width_px, round(height * width_px / width))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def _with_points(image: np.ndarray, points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return a copy with a dot of 2 x 2 pixels at every point in front, near ones on top."""
    homogeneous = np.column_stack([points[:, :3], np.ones(len(points))]) @ matrix.T
    depth = homogeneous[:, 2]
    front = np.flatnonzero(depth > 0.5)
    front = front[np.argsort(-depth[front])]
    column, row = (np.floor(homogeneous[front, k] / depth[front]).astype(int) for k in (0, 1))
    share = np.clip(depth[front, None] / FAR_M, 0, 1)
    colours = (NEAR_RGB + share * (FAR_RGB - NEAR_RGB)).astype(np.uint8)
    drawn = image.copy()
    height, width = image.shape[:2]
    for down in (0, 1):
        for across in (0, 1):
            v, u = row + down, column + across
            inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
            drawn[v[inside], u[inside]] = colours[inside]
    return drawn
