"""Spinning LiDARs like the Velodyne HDL-64E and HDL-32E.

A frame is one full turn at a standstill: no motion distortion, and no returns from the sensors'
own vehicle (it is not in the scene).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from kd3d.simulation.materials import IS_RETRO, RETURN_CHANCE
from kd3d.simulation.scene import Scene
from kd3d.simulation.tracing import Caster

NOISE_M = 0.02
LOST_SHARE = 0.015
REFERENCE_M = 50.0


@dataclass(frozen=True)
class SpinningLidar:
    """A LiDAR that turns about its z axis.

    Attributes:
        elevations_rad: Elevation of each laser, in the order they are listed.
        steps: Firings a turn.
        max_range_m: Nothing returns from farther away.
        min_range_m: Nothing returns from nearer.
        gain: Signal of a white surface at `REFERENCE_M`, see `sweep`.
    """

    elevations_rad: tuple[float, ...]
    steps: int
    max_range_m: float
    min_range_m: float
    gain: float

    @cached_property
    def directions(self) -> np.ndarray:
        """(lasers * steps, 3) float32 unit directions in the LiDAR frame.

        Laser by laser in their order; anticlockwise from straight ahead (x).
        """
        elevation = np.array(self.elevations_rad)[:, None]
        stagger = np.where(np.arange(len(elevation)) % 2, 0.5, 0.0)[:, None]
        azimuth = 2 * np.pi * (np.arange(self.steps)[None, :] + stagger) / self.steps
        x, y = np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth)
        z = np.broadcast_to(np.sin(elevation), x.shape)
        return np.stack([x, y, z], axis=-1).reshape(-1, 3).astype(np.float32)


@dataclass(frozen=True)
class Sweep:
    """One turn of the LiDAR.

    Attributes:
        points: (N, 4) float32 x, y, z in metres and intensity 0 to 1, LiDAR frame.
        owner: (N,) int16, the scene's owner of the surface each point lies on.
        ray: (N,) int64, row of the LiDAR's `directions`.
    """

    points: np.ndarray
    owner: np.ndarray
    ray: np.ndarray


def beam_elevations() -> np.ndarray:
    """Return the (64,) elevations of the HDL-64E in radians, top down.

    In degrees: 32 lasers from +2 to -8.33, and 32 from -8.83 to -24.33.
    """
    upper = 2.0 - np.arange(32) / 3.0
    lower = -8.83 - np.arange(32) / 2.0
    return np.radians(np.concatenate([upper, lower]))


# 64 lasers in two blocks, 10 turns a second, firings 0.173 degrees apart.
HDL64 = SpinningLidar(tuple(beam_elevations()), 2083, 80.0, 1.4, 34.0)


def sweep(
    tracer: Caster,
    scene: Scene,
    pose: tuple[np.ndarray, np.ndarray],
    rng: np.random.Generator,
    lidar: SpinningLidar,
) -> Sweep:
    """Measure the scene once.

    A pulse returns with a chance that falls with range, grazing incidence and a dark or shiny
    surface: 1 - exp(-gain * reflectance * sqrt(cos) * (50 m / range)^2), times the material's own
    chance. Range noise is Gaussian, 2 cm. Intensity is quantised to hundredths, as in KITTI.

    Args:
        tracer: Of the scene's mesh.
        scene: The world.
        pose: (3, 3) rotation and (3,) origin of the LiDAR in the world.
        rng: The frame's generator.
        lidar: The sensor.
    """
    rotation, origin = pose
    rays = lidar.directions
    world = rays @ rotation.T.astype(np.float32)
    distance, face = tracer.cast(origin, world)
    hit = np.flatnonzero((distance < lidar.max_range_m) & (distance > lidar.min_range_m))
    reach, face = distance[hit], face[hit]
    cosine = np.abs(np.einsum("ij,ij->i", world[hit], scene.normals[face]))
    material, reflectance = scene.material[face], scene.reflectance[face]
    facing = np.where(IS_RETRO[material], 1.0, np.maximum(cosine, 0.01)).astype(np.float32)
    signal = lidar.gain * reflectance * np.sqrt(facing) * (REFERENCE_M / reach) ** 2
    chance = (1 - np.exp(-signal)) * RETURN_CHANCE[material] * (1 - LOST_SHARE)
    kept = np.flatnonzero(rng.random(len(hit), dtype=np.float32) < chance)
    reach = reach[kept] + rng.normal(0, NOISE_M, len(kept)).astype(np.float32)
    intensity = reflectance[kept] * (0.65 + 0.75 * facing[kept])
    intensity = intensity * rng.normal(1.0, 0.16, len(kept)) + rng.normal(0, 0.03, len(kept))
    intensity = np.round(np.clip(intensity, 0, 0.99), 2).astype(np.float32)
    points = np.column_stack([rays[hit[kept]] * reach[:, None], intensity]).astype(np.float32)
    return Sweep(points, scene.owner[face[kept]], hit[kept])
