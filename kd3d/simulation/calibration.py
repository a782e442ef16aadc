"""A KITTI-like sensor rig: values of the size of KITTI's published ones, built from angles.

The rotations are exact, so they need no repair on reading. World axes: see `scene`.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from kd3d.data.kitti_files import Calibration
from kd3d.simulation.camera import Camera, pinhole

WIDTH, HEIGHT = 1242, 375
LIDAR_HEIGHT_M = 1.73
WORLD_FROM_RECT = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
"""(3, 3): rectified camera axes (x right, y down, z forward) to world axes."""
_FOCAL, _CENTRE_U, _CENTRE_V = 721.54, 609.56, 172.85
_BASELINE_SHIFTS = {
    "P0": (0.0, 0.0, 0.0),
    "P1": (-387.57, 0.0, 0.0),
    "P2": (44.86, 0.2164, 0.002746),
    "P3": (-339.52, 2.2, 0.00273),
}
_RECT_ANGLES = (0.0043, 0.0075, -0.0098)
_CAMERA_ANGLES = (-0.0148, -0.0070, 0.0080)
_LIDAR_IN_CAMERA = (-0.004, -0.0763, -0.2718)
_IMU_ANGLES, _IMU_OFFSET = (0.0148, -0.0020, -0.00077), (-0.8087, 0.3196, -0.7997)


def rotation_zyx(angles_rad: tuple[float, float, float]) -> np.ndarray:
    """Return R_z R_y R_x of three angles."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles_rad), np.sin(angles_rad)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


@lru_cache(maxsize=1)
def rig() -> Calibration:
    """Return the calibration of every simulated frame."""
    matrices = {}
    for name, shift in _BASELINE_SHIFTS.items():
        pinhole = np.array([[_FOCAL, 0, _CENTRE_U], [0, _FOCAL, _CENTRE_V], [0, 0, 1]])
        matrices[name] = np.column_stack([pinhole, shift])
    matrices["R0_rect"] = rotation_zyx(_RECT_ANGLES)
    turn = rotation_zyx(_CAMERA_ANGLES) @ WORLD_FROM_RECT.T
    matrices["Tr_velo_to_cam"] = np.column_stack([turn, _LIDAR_IN_CAMERA])
    matrices["Tr_imu_to_velo"] = np.column_stack([rotation_zyx(_IMU_ANGLES), _IMU_OFFSET])
    matrices = {
        name: np.array([[float(f"{v:.12e}") for v in row] for row in m])
        for name, m in matrices.items()
    }
    return Calibration(matrices["P2"], matrices["R0_rect"], matrices["Tr_velo_to_cam"], matrices)


def calibration_text(calibration: Calibration) -> str:
    """Return the text of a KITTI calibration file."""
    lines = [
        f"{name}: " + " ".join(f"{value:.12e}" for value in matrix.ravel())
        for name, matrix in calibration.matrices.items()
    ]
    return "\n".join(lines) + "\n\n"


def lidar_pose(calibration: Calibration) -> tuple[np.ndarray, np.ndarray]:
    """Return the LiDAR's (3, 3) rotation and (3,) origin in the world."""
    rect = calibration.lidar_to_rect
    return WORLD_FROM_RECT @ rect[:3, :3], WORLD_FROM_RECT @ rect[:3, 3]


def camera_centre(p2: np.ndarray) -> np.ndarray:
    """Return the optical centre (3,) of a projection, in the rectified camera frame."""
    return -np.linalg.solve(p2[:, :3], p2[:, 3])


@lru_cache(maxsize=1)
def kitti_camera() -> Camera:
    """Return the left colour camera of the rig, in the world."""
    p2 = rig().p2
    return pinhole((WIDTH, HEIGHT), p2[:, :3], WORLD_FROM_RECT, WORLD_FROM_RECT @ camera_centre(p2))
