"""The left colour camera: the scene ray cast through every pixel and shaded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from kd3d.simulation.calibration import HEIGHT, WIDTH, WORLD_FROM_RECT, camera_centre, rig
from kd3d.simulation.materials import IS_SHINY, Material
from kd3d.simulation.scene import UNOWNED, Light, Scene
from kd3d.simulation.tracing import Tracer

NOISE_LEVELS = 1.6
TILE = 256


@dataclass(frozen=True)
class View:
    """What the camera saw.

    Attributes:
        image: (H, W, 3) uint8, blue green red (OpenCV's order).
        depth: (H, W) float32, metres along the optical axis, infinite for the sky.
        owner: (H, W) int16, the scene's owner of the surface in each pixel, `UNOWNED` for scenery
            and sky.
    """

    image: np.ndarray
    depth: np.ndarray
    owner: np.ndarray


@lru_cache(maxsize=1)
def pixel_rays() -> tuple[np.ndarray, np.ndarray]:
    """Return the camera's (3,) centre and (H * W, 3) pixel directions in the world, one metre deep."""
    p2 = rig().p2
    v, u = np.mgrid[0:HEIGHT, 0:WIDTH]
    pixels = np.stack([u, v, np.ones_like(u)], axis=-1).reshape(-1, 3).astype(float)
    directions = pixels @ np.linalg.inv(p2[:, :3]).T @ WORLD_FROM_RECT.T
    return WORLD_FROM_RECT @ camera_centre(p2), directions.astype(np.float32)


@lru_cache(maxsize=1)
def _noise_tiles() -> tuple[np.ndarray, np.ndarray]:
    """Return a (TILE, TILE) texture about 1 and a large (2H, 2W, 3) bank of pixel noise."""
    rng = np.random.default_rng(20131)
    texture = np.ones((TILE, TILE))
    for size, strength in ((TILE, 0.05), (TILE // 4, 0.05), (TILE // 16, 0.06)):
        patch = rng.normal(0, strength, (size, size))
        texture += np.kron(patch, np.ones((TILE // size, TILE // size)))
    bank = rng.normal(0, NOISE_LEVELS, (HEIGHT + 64, WIDTH + 64, 3))
    return texture.astype(np.float32), bank.astype(np.float32)


def photograph(tracer: Tracer, scene: Scene, rng: np.random.Generator) -> View:
    """Cast every pixel and shade it: sun with shadows, sky light, reflections, haze, noise."""
    centre, directions = pixel_rays()
    distance, face = tracer.cast(centre, directions)
    seen = np.flatnonzero(face >= 0)
    face, near = face[seen], distance[seen]
    rays = directions[seen]
    points = centre.astype(np.float32) + rays * near[:, None]
    rays = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    normals = scene.normals[face]
    cosine = np.einsum("ij,ij->i", rays, normals)
    normals = np.where(cosine[:, None] > 0, -normals, normals)
    colour = scene.rgb[face] * _texture(scene, face, points, normals)[:, None]
    lit = _sunlight(tracer, scene.light, seen, points, normals)
    sky_share = 0.62 + 0.38 * normals[:, 2:3]
    colour *= scene.light.sun_rgb * lit[:, None] + scene.light.sky_rgb * sky_share
    _mirror(scene, face, rays, normals, np.abs(cosine), colour)
    haze = np.exp(-near / scene.light.visibility_m)[:, None]
    colour = colour * haze + scene.light.horizon_rgb * (1 - haze)
    image = np.empty((HEIGHT * WIDTH, 3), dtype=np.float32)
    sky = np.flatnonzero(~np.isfinite(distance))
    image[sky] = _sky(scene.light, directions[sky])
    image[seen] = colour
    owner = np.full(HEIGHT * WIDTH, UNOWNED, dtype=np.int16)
    owner[seen] = scene.owner[face]
    return View(_develop(image, scene.light, rng), distance.reshape(HEIGHT, WIDTH), owner.reshape(HEIGHT, WIDTH))


def _sunlight(
    tracer: Tracer, light: Light, seen: np.ndarray, points: np.ndarray, normals: np.ndarray
) -> np.ndarray:
    """Return (N,) direct light of the seen pixels; shadows are cast at every second pixel."""
    lambert = np.maximum(normals @ light.sun, 0)
    row, column = np.divmod(seen, WIDTH)
    chosen = np.flatnonzero((row % 2 == 0) & (column % 2 == 0))
    starts = points[chosen] + 0.03 * normals[chosen] + 0.02 * light.sun
    small = np.zeros(((HEIGHT + 1) // 2, WIDTH // 2), dtype=np.float32)
    small[row[chosen] // 2, column[chosen] // 2] = ~tracer.blocked(starts, light.sun)
    return lambert * small[row // 2, column // 2]


def _texture(scene: Scene, face: np.ndarray, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Return (N,) brightness factors: grain on everything static, windows on facades."""
    texture, _ = _noise_tiles()
    across = points[:, 0] * (np.abs(normals[:, 1]) > 0.5) + points[:, 1] * (np.abs(normals[:, 1]) <= 0.5)
    upright = np.abs(normals[:, 2]) < 0.5
    u = np.where(upright, across, points[:, 0])
    v = np.where(upright, points[:, 2], points[:, 1])
    grain = texture[(u * 24).astype(np.int32) % TILE, (v * 24).astype(np.int32) % TILE]
    factor = np.where(scene.owner[face] == UNOWNED, grain, 1.0).astype(np.float32)
    facade = np.flatnonzero((scene.material[face] == Material.FACADE) & upright)
    column, storey = u[facade] / 2.6 % 1.0, (points[facade, 2] + 1.65) / 3.0 % 1.0
    window = (np.abs(column - 0.5) < 0.22) & (np.abs(storey - 0.55) < 0.25)
    frame = (np.abs(column - 0.5) < 0.25) & (np.abs(storey - 0.55) < 0.29) & ~window
    factor[facade[window]] *= 0.16
    factor[facade[frame]] *= 1.35
    return factor


def _mirror(
    scene: Scene, face: np.ndarray, rays: np.ndarray, normals: np.ndarray, cosine: np.ndarray, colour: np.ndarray
) -> None:
    """Add the mirrored sky to shiny surfaces, in place."""
    shiny = np.flatnonzero(IS_SHINY[scene.material[face]])
    away, n, facing = rays[shiny], normals[shiny], cosine[shiny, None]
    bounce = away - 2 * np.einsum("ij,ij->i", away, n)[:, None] * n
    share = 0.05 + 0.65 * (1 - facing) ** 4
    above = np.where(bounce[:, 2:3] > 0, _sky(scene.light, bounce), 0.25 * scene.light.sky_rgb)
    glint = np.maximum(bounce @ scene.light.sun, 0)[:, None] ** 60
    colour[shiny] = colour[shiny] * (1 - share) + share * above + 0.5 * glint * scene.light.sun_rgb


def _sky(light: Light, rays: np.ndarray) -> np.ndarray:
    """Return the (N, 3) colour of the sky: haze at the horizon, deeper above."""
    height = np.clip(rays[:, 2:3] / np.linalg.norm(rays[:, :2], axis=1, keepdims=True).clip(1e-6), 0, 1)
    top = light.sky_rgb * np.array([0.75, 0.95, 1.35], dtype=np.float32)
    blend = np.clip(height * 2.2, 0, 1) ** 0.7
    return light.horizon_rgb * (1 - blend) + top * blend


def _develop(image: np.ndarray, light: Light, rng: np.random.Generator) -> np.ndarray:
    """Turn linear red green blue into an 8-bit blue green red picture with sensor noise."""
    levels = 255.0 * np.sqrt(np.clip(image * light.exposure, 0, 1.05))
    _, bank = _noise_tiles()
    row, column = rng.integers(0, 64, 2)
    noise = bank[row : row + HEIGHT, column : column + WIDTH].reshape(-1, 3)
    levels = np.clip(levels[:, ::-1] + noise, 0, 255)
    return (levels + 0.5).clip(0, 255).astype(np.uint8).reshape(HEIGHT, WIDTH, 3)
