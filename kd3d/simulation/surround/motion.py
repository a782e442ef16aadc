"""How things move along a road, and who is where when."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kd3d.simulation.road import Road
from kd3d.simulation.scene import Footprints

WHEELBASE_M, TRACK_M = 2.7, 1.5
EGO_LENGTH_M, EGO_WIDTH_M = 4.1, 1.8
EGO_MIDDLE_M = 1.3
"""From the rear axle to the middle of the sensors' own vehicle."""


@dataclass(frozen=True)
class Motion:
    """A straight and even motion in path coordinates: along the road it follows the bend.

    Constant speed and turn rate (speed times the road's curvature), heading along the way.

    Attributes:
        s: Place along the road at time 0, metres.
        d: Place to the left of its middle at time 0, metres.
        turn_rad: Heading relative to the road.
        speed: Metres a second along the heading; 0 stands still.
    """

    s: float
    d: float
    turn_rad: float
    speed: float = 0.0

    def path(self, time_s: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        """Return s and d at some times."""
        way = self.speed * np.asarray(time_s, dtype=float)
        return self.s + way * np.cos(self.turn_rad), self.d + way * np.sin(self.turn_rad)

    def place(self, road: Road, time_s: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        """Return (..., 3) ground points and (...) headings in radians, world."""
        s, d = self.path(time_s)
        return road.locate(s, d), np.asarray(road.heading_at(s)) + self.turn_rad


@dataclass(frozen=True)
class Drive:
    """The sensors' own vehicle: its rear axle follows its lane.

    Attributes:
        road: The road.
        motion: Of the rear axle's middle.
    """

    road: Road
    motion: Motion

    def pose(self, time_s: float) -> tuple[np.ndarray, np.ndarray]:
        """Return (3, 3) rotation and (3,) origin of the ego frame in the world.

        The origin lies on the ground below the rear axle, x points ahead and y left; pitch and
        roll are those of the ground below the wheels.
        """
        s, d = self.motion.path(time_s)
        origin = self.road.locate(s, d)
        ahead = self.road.locate(s + WHEELBASE_M, d) - origin
        half = TRACK_M / 2
        left = self.road.locate(s, d + half) - self.road.locate(s, d - half)
        x = ahead / np.linalg.norm(ahead)
        z = np.cross(x, left)
        z /= np.linalg.norm(z)
        return np.column_stack([x, np.cross(z, x), z]), origin


class Timetable(Footprints):
    """Keeps things apart during a whole drive: standing ones and ones that move.

    Args:
        road: The road they move on.
        times_s: (T,) instants to look at.
    """

    def __init__(self, road: Road, times_s: np.ndarray) -> None:
        super().__init__()
        self._road, self._times = road, times_s
        self._moving = np.zeros((0, len(times_s), 3))  # discs: x, y, radius

    def claim_way(self, motion: Motion, length: float, width: float, gap: float) -> bool:
        """Take a way if it is free at all instants, `gap` metres included; say whether it was."""
        places, yaws = motion.place(self._road, self._times)
        rows = [self._row(x, y, yaw, length, width) for (x, y, _), yaw in zip(places, yaws)]
        discs = np.stack(rows, axis=1)  # (K, T, 3)
        if super()._taken(discs.reshape(-1, 3), gap):
            return False
        apart = np.hypot(
            *(discs[:, None, :, :2] - self._moving[None, :, :, :2]).transpose(3, 0, 1, 2)
        )
        if (apart < discs[:, None, :, 2] + self._moving[None, :, :, 2] + gap).any():
            return False
        self._moving = np.concatenate([self._moving, discs])
        return True

    def _taken(self, discs: np.ndarray, gap: float) -> bool:
        if super()._taken(discs, gap):
            return True
        others = self._moving.reshape(-1, 3)
        apart = np.hypot(*(discs[:, None, :2] - others[None, :, :2]).transpose(2, 0, 1))
        return bool((apart < discs[:, None, 2] + others[None, :, 2] + gap).any())
