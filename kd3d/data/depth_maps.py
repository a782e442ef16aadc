"""Depth of projected LiDAR points on the cells of an image's features."""

from __future__ import annotations

import numpy as np
import torch

from kd3d.masks.depth_cells import object_cells

NEAREST_M = 1.0  # nearer ones are the car itself
FARTHEST_M = 60.0  # of the published code


def project(points: np.ndarray, lidar2img: np.ndarray, img_aug: np.ndarray) -> np.ndarray:
    """Return u, v in the network's image and depth in metres, (P, 3) float64.

    Points behind the camera have a depth below 0 and no meaningful u and v.

    Args:
        points: (P, 3) metres in the LiDAR frame, not augmented.
        lidar2img: (4, 4) to (u d, v d, d) of the image as it was taken.
        img_aug: (4, 4) of the image's augmentation, on (u, v, depth).
    """
    seen = points[:, :3].astype(np.float64) @ lidar2img[:3, :3].T + lidar2img[:3, 3]
    depth = seen[:, 2:]
    seen = np.concatenate([seen[:, :2] / np.where(np.abs(depth) < 1e-6, 1e-6, depth), depth], 1)
    return seen @ img_aug[:3, :3].T + img_aug[:3, 3]


def depth_map(
    seen: np.ndarray, shape: tuple[int, int], stride: int, official_parity: bool = False
) -> np.ndarray:
    """Return the least depth in each cell of an image, (H / stride, W / stride) float32; 0: none.

    Args:
        seen: (P, 3) u, v and depth; a whole number is the middle of a pixel.
        shape: (H, W) of the image in pixels.
        stride: Pixels a cell, along both sides.
        official_parity: As BEVDet's code: cells lie around the pixels 0, stride, 2 stride ... (half
            a cell from where its features are lifted), and depths outside 1 to 60 m are dropped.
            By default no depth is too far: a bin's range is the model's affair.
    """
    rows, columns = shape[0] // stride, shape[1] // stride
    u, v, depth = seen.T
    if official_parity:  # halves are rounded to even, as torch does
        cell_u, cell_v = np.round(u / stride), np.round(v / stride)
        kept = (depth >= NEAREST_M) & (depth < FARTHEST_M)
    else:
        cell_u, cell_v = np.floor((u + 0.5) / stride), np.floor((v + 0.5) / stride)
        kept = depth >= NEAREST_M
    kept &= (cell_u >= 0) & (cell_u < columns) & (cell_v >= 0) & (cell_v < rows)
    found = np.full((rows, columns), np.inf, dtype=np.float32)
    where = cell_v[kept].astype(np.int64), cell_u[kept].astype(np.int64)
    np.minimum.at(found, where, depth[kept].astype(np.float32))
    return np.where(np.isinf(found), np.float32(0), found)


def object_map(
    seen: np.ndarray,
    inside: np.ndarray,
    shape: tuple[int, int],
    stride: int,
    official_parity: bool = False,
) -> np.ndarray:
    """Return which box the nearest point in each cell lies in, int64 from 1; 0: none.

    Args:
        seen: As in `depth_map`, whose cells and nearest points are the same.
        inside: (N, P) whether a point lies in a box.
        shape: (H, W) of the image in pixels.
        stride: Pixels a cell.
        official_parity: As in `depth_map`.
    """
    depths = NEAREST_M, FARTHEST_M if official_parity else float("inf")
    points, boxes = torch.from_numpy(seen), torch.from_numpy(inside)
    return object_cells(points, boxes, shape, stride, depths, official_parity)[1].numpy()
