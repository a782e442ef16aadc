"""The lift between both graphs of a camera detector: pixels along their rays into a map's cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Rig:
    """Calibration of N cameras.

    Attributes:
        lidar2cam: (N, 4, 4) from the LiDAR at the key frame's time to each camera at its own.
        cam2img: (N, 3, 3) to pixels of the images as they were taken.
        img_aug: (N, 4, 4) from (u, v, depth, 1) there to the network's image, see `fit_image`.
    """

    lidar2cam: np.ndarray
    cam2img: np.ndarray
    img_aug: np.ndarray

    @classmethod
    def of(cls, lidar2cam: Any, cam2img: Any, img_aug: Any) -> Rig:
        """Return a rig of lists or arrays; ``cam2img`` may be 4x4."""
        wide = [np.asarray(value, dtype=np.float64) for value in (lidar2cam, cam2img, img_aug)]
        return cls(wide[0], wide[1][:, :3, :3], wide[2])

    def numbers(self) -> np.ndarray:
        """Return (N, 34) float32, what a camera-aware depth network reads.

        fx, fy, cx, cy; the image augmentation's 2x3 part; camera to LiDAR, 3x4; identity, 3x4.
        """
        count = len(self.cam2img)
        focal = self.cam2img[:, [0, 1, 0, 1], [0, 1, 2, 2]]
        image = self.img_aug[:, :2][:, :, [0, 1, 3]].reshape(count, -1)
        back = np.linalg.inv(self.lidar2cam)[:, :3].reshape(count, -1)
        scene = np.tile(np.eye(4)[:3].reshape(1, -1), (count, 1))
        return np.concatenate([focal, image, back, scene], 1).astype(np.float32)


@dataclass(frozen=True)
class Lift:
    """Which lifted points fall into which cells; it holds as long as the calibration does.

    Attributes:
        depth: (K,) places in the flattened (N, H, W, D) depth.
        pixel: (K,) places in the flattened (N, H, W) pixels.
        starts: Where the rows of one cell start in both.
        cells: Those cells.
        shape: (Z, Y, X) of the volume.
        mean_smoothing: None: cells get sums; else means under the depth's probability, whose sum
            in the cell grows by this number first.
    """

    depth: np.ndarray
    pixel: np.ndarray
    starts: np.ndarray
    cells: np.ndarray
    shape: tuple[int, int, int]
    mean_smoothing: float | None

    @classmethod
    def of(cls, rig: Rig, spec: dict[str, Any]) -> Lift:
        """Return the lift of a rig; ``spec``: ``lift`` of ``model.json``."""
        columns, rows, layers = spec["cells"]
        place = _cells(_lifted(rig, spec), spec).reshape(-1)
        order = np.argsort(place, kind="stable")
        order = order[np.searchsorted(place[order], 0) :]  # -1: outside
        cells, starts = np.unique(place[order], return_index=True)
        shape = (layers, rows, columns)
        return cls(order, order // spec["depth_bins"], starts, cells, shape, spec["mean_smoothing"])

    def pool(self, depth: np.ndarray, context: np.ndarray) -> np.ndarray:
        """Return the map (1, Z C, Y, X), the sum (or mean) over each cell of depth x context.

        Args:
            depth: (N, D, H, W) probabilities, the image graph's first output.
            context: (N, C, H, W) features, its second.
        """
        weights = depth.transpose(0, 2, 3, 1).reshape(-1)[self.depth]
        features = context.transpose(0, 2, 3, 1).reshape(-1, context.shape[1])
        volume = np.zeros((int(np.prod(self.shape)), context.shape[1]), dtype=np.float32)
        if len(self.cells):
            rows = features[self.pixel] * weights[:, None]
            sums = np.add.reduceat(rows, self.starts, axis=0)
            if self.mean_smoothing is not None:
                sums /= np.add.reduceat(weights, self.starts)[:, None] + self.mean_smoothing
            volume[self.cells] = sums
        volume = volume.reshape(*self.shape, -1).transpose(0, 3, 1, 2)
        return np.ascontiguousarray(volume).reshape(1, -1, *self.shape[1:])


def _lifted(rig: Rig, spec: dict[str, Any]) -> np.ndarray:
    """Return (N, H, W, D, 3) metres, in the LiDAR's frame; in float32, as the model was trained."""
    u, v, depth = (np.asarray(spec[key], dtype=np.float32) for key in ("u", "v", "depths"))
    down, across, away = np.meshgrid(v, u, depth, indexing="ij")
    frustum = np.stack([across, down, away], -1).reshape(-1, 3)
    undo = np.linalg.inv(rig.img_aug).astype(np.float32)
    back = np.tile(np.eye(4), (len(rig.cam2img), 1, 1))
    back[:, :3, :3] = np.linalg.inv(rig.cam2img)
    to_lidar = (np.linalg.inv(rig.lidar2cam) @ back).astype(np.float32)
    place = frustum @ undo[:, :3, :3].transpose(0, 2, 1) + undo[:, None, :3, 3]
    place = np.concatenate([place[..., :2] * place[..., 2:], place[..., 2:]], -1)
    place = place @ to_lidar[:, :3, :3].transpose(0, 2, 1) + to_lidar[:, None, :3, 3]
    return place.reshape(-1, len(v), len(u), len(depth), 3)


def _cells(points: np.ndarray, spec: dict[str, Any]) -> np.ndarray:
    """Return each point's cell (z Y + y) X + x, -1 outside."""
    low, step = (np.asarray(spec[key], dtype=np.float32) for key in ("low", "step"))
    place = (points - low) / step
    place = (np.trunc(place) if spec["towards_zero"] else np.floor(place)).astype(np.int64)
    columns, rows, layers = spec["cells"]
    inside = ((place >= 0) & (place < np.array([columns, rows, layers]))).all(-1)
    index = (place[..., 2] * rows + place[..., 1]) * columns + place[..., 0]
    return np.where(inside, index, -1)
