"""Where a drive lies in its map: global coordinates, and the map's picture of the road."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kd3d.fileio import write_bytes
from kd3d.simulation.road import Road

MIDDLE_M = 150.0
MAP_M, PIXEL_M = 300.0, 0.1


@dataclass(frozen=True)
class Placement:
    """World to global coordinates: turned about z, then shifted to the map's middle.

    Attributes:
        yaw_rad: The turn.
    """

    yaw_rad: float

    @property
    def rotation(self) -> np.ndarray:
        """(3, 3) world to global axes."""
        cos, sin = np.cos(self.yaw_rad), np.sin(self.yaw_rad)
        return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]])

    def points(self, points: np.ndarray) -> np.ndarray:
        """Return (..., 3) global points of world points."""
        return points @ self.rotation.T + (MIDDLE_M, MIDDLE_M, 0.0)

    def pose(self, rotation: np.ndarray, origin: np.ndarray) -> dict[str, Any]:
        """Return a world pose as nuScenes writes it: quaternion (w, x, y, z) and translation."""
        return {
            "rotation": quaternion(self.rotation @ rotation),
            "translation": self.points(origin).tolist(),
        }

    def box(self, box: np.ndarray) -> dict[str, Any]:
        """Return the pose of a (7,) world box, at its middle."""
        yaw = box[6] + self.yaw_rad
        middle = box[:3] + (0.0, 0.0, box[5] / 2)
        half = yaw / 2
        return {
            "rotation": [float(np.cos(half)), 0.0, 0.0, float(np.sin(half))],
            "translation": self.points(middle).tolist(),
        }


def quaternion(rotation: np.ndarray) -> list[float]:
    """Return (w, x, y, z) of a (3, 3) rotation."""
    from pyquaternion import Quaternion

    return Quaternion(matrix=rotation).elements.tolist()


def draw_map(path: Path, road: Road, placement: Placement) -> None:
    """Write nuScenes' semantic prior of a drive: white where one may drive or walk, else black.

    A pixel is 0.1 m; the global origin is the lower left corner.
    """
    import cv2

    size = round(MAP_M / PIXEL_M)
    picture = np.zeros((size, size), dtype=np.uint8)
    for outline in _outlines(road):
        pixels = placement.points(outline)[:, :2] / PIXEL_M
        pixels[:, 1] = size - pixels[:, 1]
        cv2.fillPoly(picture, [np.round(pixels).astype(np.int32)], [255.0])
    write_bytes(path, cv2.imencode(".png", picture)[1].tobytes())


def _outlines(road: Road) -> list[np.ndarray]:
    """Return (N, 3) world outlines of the road with its pavements, and of a crossing road."""
    s = np.arange(-128.0, 128.5, 1.0)
    both = [road.locate(s, np.full(len(s), side * road.edge)) for side in (1.0, -1.0)]
    outlines = [np.concatenate([both[0], both[1][::-1]])]
    if road.crossing is not None:
        d = np.array([-75.0, 75.0, 75.0, -75.0])
        half = road.crossing_half * np.array([-1, -1, 1, 1])
        outlines.append(road.locate(road.crossing + half, d))
    return outlines
