"""The ground: a curved, rolling, cambered road with kerbs, pavements and the land beside it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from kd3d.simulation.materials import Material
from kd3d.simulation.meshes import Mesh

REACH_M = 130.0
STEP_M = 1.5
KERB_M = 0.12
LANE_M = 3.5


@dataclass(frozen=True)
class Road:
    """A road through the scene in path coordinates: s along it, d to its left, metres.

    The sensors stand at s = 0, d = `ego_d`, where the ground is at z = `ground_z`.

    Attributes:
        half_width: From the middle to the kerb.
        pavement: Width of the pavements; 0 for none (a country road).
        lanes: Lanes in each direction.
        ego_d: Lateral place of the sensors' vehicle.
        ground_z: Height of the ground below the sensors.
        curvature: Per metre, positive to the left; not 0.
        heading: Road's direction at s = 0 in radians.
        bend: Vertical curvature per metre.
        waves: (4, 3) amplitude, wave number along s and d, phase of undulations.
        slopes: Slope of the land left and right of the road.
        side: Material of that land.
        crossing: s of a crossing road's middle, or None.
        crossing_half: Half its width.
        parked: Whether parked rows take the outer 2.1 m left, right.
    """

    half_width: float
    pavement: float
    lanes: int
    ego_d: float
    ground_z: float
    curvature: float
    heading: float
    bend: float
    waves: np.ndarray
    slopes: tuple[float, float]
    side: int
    crossing: float | None
    crossing_half: float
    parked: tuple[bool, bool]

    @property
    def edge(self) -> float:
        """Where the pavement ends."""
        return self.half_width + self.pavement

    def heading_at(self, s: np.ndarray | float) -> np.ndarray | float:
        """Direction of the road at s, radians."""
        return self.heading + self.curvature * np.asarray(s)

    def locate(self, s: np.ndarray | float, d: np.ndarray | float) -> np.ndarray:
        """Return (..., 3) ground points of path coordinates."""
        s, d = np.asarray(s, dtype=float), np.asarray(d, dtype=float)
        yaw = self.heading + self.curvature * s
        sin, cos = np.sin(yaw), np.cos(yaw)
        sin0, cos0 = self._start
        x = (sin - sin0) / self.curvature - d * sin + self.ego_d * sin0
        y = (cos0 - cos) / self.curvature + d * cos - self.ego_d * cos0
        return np.stack([x, y, self._height(s, d) + self._lift], axis=-1)

    @cached_property
    def _start(self) -> tuple[float, float]:
        return float(np.sin(self.heading)), float(np.cos(self.heading))

    @cached_property
    def _lift(self) -> float:
        return self.ground_z - float(self._height(np.zeros(()), np.array(self.ego_d)))

    def in_crossing(self, s: np.ndarray | float, margin: float = 0.0) -> np.ndarray:
        """Whether s lies on the crossing road."""
        if self.crossing is None:
            return np.zeros(np.shape(s), dtype=bool)
        return np.abs(np.asarray(s) - self.crossing) < self.crossing_half + margin

    def _height(self, s: np.ndarray, d: np.ndarray) -> np.ndarray:
        side = np.abs(d)
        amplitude, along, across, phase = self.waves
        waves = amplitude * np.sin(along * s[..., None] + across * d[..., None] + phase)
        height = 0.5 * self.bend * s**2 + waves.sum(axis=-1)
        height = height - 0.016 * np.minimum(side, self.half_width)
        if self.pavement > 0:
            height = height + KERB_M * ((side > self.half_width + 0.01) & ~self.in_crossing(s))
        beyond = np.clip(side - self.edge - 0.3, 0.0, 40.0)
        return height + np.where(d > 0, *self.slopes) * beyond

    def mesh(self) -> Mesh:
        """Return the ground with its markings."""
        s = np.arange(-REACH_M, REACH_M + STEP_M / 2, STEP_M)
        d, across = self._strips()
        vertices = self.locate(s[:, None], d[None, :]).reshape(-1, 3)
        rows, columns = len(s), len(d)
        k, i = np.meshgrid(np.arange(rows - 1), np.arange(columns - 1), indexing="ij")
        a = k * columns + i
        quads = np.stack([a, a + 1, a + columns + 1, a + columns], axis=-1).reshape(-1, 4)
        material = np.tile(across, (rows - 1, 1))
        middle = (s[:-1] + s[1:]) / 2
        dashed = (np.floor(middle / STEP_M).astype(int) % 6) < 2
        material[:, across == _DASHED] = np.where(dashed, Material.MARKING, Material.ASPHALT)[
            :, None
        ]
        material[self.in_crossing(middle)] = Material.ASPHALT
        material = material.reshape(-1)
        faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
        return Mesh(vertices, faces, np.concatenate([material, material]))

    def _strips(self) -> tuple[np.ndarray, np.ndarray]:
        """Lateral grid lines, right to left, and the material between neighbours."""
        half: list[tuple[float, int]] = [(0.07, Material.ASPHALT)]
        for lane in range(1, self.lanes):
            half += [(lane * LANE_M - 0.07, _DASHED), (lane * LANE_M + 0.07, Material.ASPHALT)]
        side = self.half_width
        if self.pavement > 0:
            half += [
                (side, Material.KERB),
                (side + 0.02, Material.KERB),
                (side + 0.15, Material.PAVEMENT),
            ]
            half += [(self.edge, self.side), (self.edge + 0.3, self.side)]
        else:
            half += [
                (side - 0.35, Material.MARKING),
                (side - 0.23, Material.ASPHALT),
                (side, self.side),
                (side + 0.3, self.side),
            ]
        half += [
            (side + 6.0, self.side),
            (side + 15.0, self.side),
            (side + 32.0, self.side),
            (75.0, self.side),
        ]
        half.sort()
        lines = np.array([place for place, _ in half])
        after = np.array([material for _, material in half])
        d = np.concatenate([-lines[::-1], lines])
        material = np.concatenate([after[:-1][::-1], [_DASHED], after[:-1]])
        return d, material


_DASHED = -1


def random_road(
    rng: np.random.Generator,
    environment: str,
    ground_z: float,
    parked_chance: float,
    crossing_chance: float,
) -> Road:
    """Draw a road for "town", "suburb" or "country"."""
    country = environment == "country"
    lanes = 2 if environment == "town" and rng.random() < 0.25 else 1
    parked = (
        bool(rng.random() < parked_chance) and not country,
        bool(rng.random() < parked_chance) and not country,
    )
    lane_zone = lanes * LANE_M
    half_width = lane_zone + (2.1 if any(parked) else rng.uniform(0.1, 0.9))
    pavement = 0.0 if country else rng.uniform(1.8, 4.0)
    waves = np.stack(
        [
            rng.uniform(0.0, 0.025, 3),
            rng.uniform(0.2, 0.55, 3),
            rng.normal(0, 0.08, 3),
            rng.uniform(0, 6.3, 3),
        ]
    )
    lane = rng.integers(lanes)
    crossing = float(rng.uniform(14, 48)) if rng.random() < crossing_chance else None
    return Road(
        half_width=half_width,
        pavement=pavement,
        lanes=lanes,
        ego_d=-(lane + 0.5) * LANE_M + rng.normal(0, 0.2),
        ground_z=ground_z,
        curvature=float(rng.choice([1, -1]) * np.clip(abs(rng.normal(0, 0.003)), 1e-5, 0.007)),
        heading=rng.normal(0, 0.03),
        bend=rng.normal(0, 1.5e-4),
        waves=waves,
        slopes=tuple(rng.normal(0.01, 0.02, 2)) if environment != "town" else (0.0, 0.0),
        side=Material.PAVEMENT if environment == "town" else Material.GRASS,
        crossing=crossing,
        crossing_half=rng.uniform(3.2, 5.0),
        parked=parked,
    )
