"""Corners of LiDAR-frame boxes and their projection, for drawing only."""

from __future__ import annotations

import numpy as np

from kd3d.errors import UserError

# Corner order: front left, front right, rear right, rear left; the bottom four, then the top four.
EDGES = np.array(
    [[0, 1], [1, 2], [2, 3], [3, 0], [4, 5], [5, 6], [6, 7], [7, 4], [0, 4], [1, 5], [2, 6], [3, 7]]
)
FRONT_DIAGONALS = np.array([[0, 5], [1, 4]])


def as_boxes(boxes: np.ndarray, group: str = "boxes") -> np.ndarray:
    """Return float64 (N, 7) boxes; an empty array of any shape is (0, 7).

    Raises:
        UserError: Fewer than 7 columns. Further columns (velocity) are dropped.
    """
    boxes = np.asarray(boxes, dtype=np.float64)
    if boxes.size == 0:
        return np.zeros((0, 7))
    if boxes.ndim != 2 or boxes.shape[1] < 7:
        raise UserError(f"boxes have shape {boxes.shape}, wanted (N, 7)", group)
    return boxes[:, :7]


def bev_corners(boxes: np.ndarray) -> np.ndarray:
    """Return (N, 4, 2) x, y in metres: front left, front right, rear right, rear left.

    Args:
        boxes: (N, 7) [x, y, z_bottom, dx, dy, dz, yaw], LiDAR frame, metres and radians.
    """
    boxes = as_boxes(boxes)
    template = np.array([[0.5, 0.5], [0.5, -0.5], [-0.5, -0.5], [-0.5, 0.5]])
    local = template[None] * boxes[:, None, 3:5]
    cos, sin = np.cos(boxes[:, 6]), np.sin(boxes[:, 6])
    rotation = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)  # (N, 2, 2)
    return local @ rotation.transpose(0, 2, 1) + boxes[:, None, :2]


def box_corners(boxes: np.ndarray) -> np.ndarray:
    """Return (N, 8, 3) corners in metres: `bev_corners` at the bottom, then at the top."""
    boxes = as_boxes(boxes)
    flat = bev_corners(boxes)
    bottom = np.repeat(boxes[:, None, 2:3], 4, axis=1)
    top = bottom + boxes[:, None, 5:6]
    return np.concatenate(
        [np.concatenate([flat, bottom], axis=2), np.concatenate([flat, top], axis=2)], axis=1
    )


def project_segments(
    segments: np.ndarray, lidar_to_image: np.ndarray, near_m: float = 0.1
) -> np.ndarray:
    """Project 3D segments to pixels, cut at a plane in front of the camera.

    Args:
        segments: (S, 2, 3) end points in metres, LiDAR frame.
        lidar_to_image: (4, 4) LiDAR to homogeneous pixels (u*d, v*d, d, 1).
        near_m: Depth of the cutting plane in metres, above 0.

    Returns:
        (S', 2, 2) pixels u, v of the segments with a part in front of the plane.
    """
    points = np.concatenate([segments, np.ones((*segments.shape[:2], 1))], axis=2)
    camera = (points @ np.asarray(lidar_to_image, dtype=np.float64).T)[..., :3]
    camera = camera[(camera[..., 2] > near_m).any(axis=1)]
    start, end = camera[:, 0], camera[:, 1]
    step = end[:, 2] - start[:, 2]
    share = (near_m - start[:, 2]) / np.where(step == 0, 1.0, step)
    cut = start + share[:, None] * (end - start)
    start = np.where(start[:, 2:] < near_m, cut, start)
    end = np.where(end[:, 2:] < near_m, cut, end)
    clipped = np.stack([start, end], axis=1)
    return clipped[..., :2] / clipped[..., 2:]
