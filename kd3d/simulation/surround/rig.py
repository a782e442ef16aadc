"""The sensors: six cameras all around and a LiDAR on the roof, of the size of nuScenes' rig.

Built from angles and round numbers: positions to centimetres, fields of view of 70 and 110
degrees, misalignments of a few milliradians.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kd3d.simulation.calibration import rotation_zyx
from kd3d.simulation.lidar import SpinningLidar

LIDAR = "LIDAR_TOP"
HDL32 = SpinningLidar(tuple(np.radians(-30.67 + 4.0 / 3.0 * np.arange(32))), 1084, 100.0, 1.0, 24.0)
"""32 lasers from -30.67 to +10.67 degrees, lowest first; 20 turns a second."""
INTENSITY = 100.0
"""Intensity written for a return of 1: real files hold whole numbers, few of them above 100."""


@dataclass(frozen=True)
class CameraMount:
    """A camera on the vehicle.

    Attributes:
        channel: nuScenes' name.
        azimuth_deg: Where it looks, anticlockwise from ahead.
        view_deg: Horizontal field of view.
        position: (3,) in the ego frame, metres.
        angles_rad: Misalignment about x, y, z of the ego frame.
        shift: Principal point beyond the image's middle, shares of width and height.
        offset_us: Time of a key frame's picture after its LiDAR's, microseconds.
    """

    channel: str
    azimuth_deg: float
    view_deg: float
    position: tuple[float, float, float]
    angles_rad: tuple[float, float, float]
    shift: tuple[float, float]
    offset_us: int

    @property
    def rotation(self) -> np.ndarray:
        """(3, 3) camera axes (x right, y down, z forward) to the ego frame."""
        azimuth = np.radians(self.azimuth_deg)
        ahead = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
        right = np.array([np.sin(azimuth), -np.cos(azimuth), 0.0])
        axes = np.column_stack([right, [0.0, 0.0, -1.0], ahead])
        return rotation_zyx(self.angles_rad) @ axes

    def matrix(self, size: tuple[int, int]) -> np.ndarray:
        """Return the (3, 3) camera matrix for an image of this width and height."""
        width, height = size
        focal = width / 2 / np.tan(np.radians(self.view_deg) / 2)
        u = (width - 1) / 2 + self.shift[0] * width
        v = (height - 1) / 2 + self.shift[1] * height
        return np.array([[focal, 0, u], [0, focal, v], [0, 0, 1.0]])


# The LiDAR turns clockwise, seen from above, and triggers each camera as it comes by; a key frame's
# time is that of the LiDAR's end of turn.
MOUNTS = (
    CameraMount(
        "CAM_FRONT", 0, 70, (1.70, 0.02, 1.51), (0.004, -0.003, 0.006), (0.01, 0.045), -35_000
    ),
    CameraMount(
        "CAM_FRONT_RIGHT", -56, 70, (1.55, -0.49, 1.50), (-0.005, 0.004, 0.01), (0.005, 0.05),
        -27_500,
    ),
    CameraMount(
        "CAM_FRONT_LEFT", 55, 70, (1.52, 0.49, 1.51), (0.003, 0.006, -0.008), (0.016, 0.033),
        -43_000,
    ),
    CameraMount(
        "CAM_BACK", 180, 110, (0.03, 0.01, 1.58), (-0.006, -0.008, 0.004), (0.018, 0.035), -10_500
    ),
    CameraMount(
        "CAM_BACK_LEFT", 109, 70, (1.04, 0.48, 1.59), (0.007, -0.004, 0.005), (-0.005, 0.047), -500
    ),
    CameraMount(
        "CAM_BACK_RIGHT", -110, 70, (1.01, -0.48, 1.56), (-0.004, 0.007, -0.006), (0.004, 0.056),
        -20_000,
    ),
)  # fmt: skip
LIDAR_POSITION = np.array([0.94, 0.0, 1.84])
LIDAR_ROTATION = rotation_zyx((0.002, -0.006, 0.001)) @ np.array(
    [[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
)
"""(3, 3) LiDAR axes (x right, y ahead, z up) to the ego frame."""


def in_world(
    rotation: np.ndarray, position: np.ndarray, ego: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return a sensor's (3, 3) rotation and (3,) origin in the world, given the ego frame's."""
    return ego[0] @ rotation, ego[0] @ position + ego[1]
