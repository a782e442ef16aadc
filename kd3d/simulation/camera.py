"""A pinhole camera: the scene ray cast through every pixel and shaded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from kd3d.simulation.materials import IS_SHINY, Material
from kd3d.simulation.scene import UNOWNED, Light, Scene
from kd3d.simulation.tracing import Caster

NOISE_LEVELS = 1.6
TILE = 256
BAND = 16
"""Rows shaded at once; even."""


@dataclass(frozen=True)
class View:
    """What the camera saw.

    Attributes:
        image: (H, W, 3) uint8, blue green red (OpenCV's order).
        depth: (H, W) float32, metres along the optical axis, infinite for the sky.
        owner: (H, W) int16, the owner of each pixel's surface, `UNOWNED` for scenery
            and sky.
    """

    image: np.ndarray
    depth: np.ndarray
    owner: np.ndarray


@dataclass(frozen=True)
class Camera:
    """A camera that stands somewhere in the world.

    Attributes:
        width: Pixels across.
        height: Pixels down.
        centre: (3,) optical centre, world metres.
        directions: (H * W, 3) float32, world directions of the pixels, one metre deep.
    """

    width: int
    height: int
    centre: np.ndarray
    directions: np.ndarray

    @cached_property
    def sky_blend(self) -> np.ndarray:
        """(H * W,) `_sky_blend` of the pixels."""
        return _sky_blend(self.directions)


def pinhole(
    size: tuple[int, int], matrix: np.ndarray, rotation: np.ndarray, centre: np.ndarray
) -> Camera:
    """Return a camera.

    Args:
        size: Width and height in pixels.
        matrix: (3, 3) from camera axes (x right, y down, z forward) to homogeneous pixels.
        rotation: (3, 3) from camera axes to the world's.
        centre: (3,) optical centre, world metres.
    """
    width, height = size
    v, u = np.mgrid[0:height, 0:width]
    pixels = np.stack([u, v, np.ones_like(u)], axis=-1).reshape(-1, 3).astype(float)
    directions = pixels @ np.linalg.inv(matrix).T @ rotation.T
    return Camera(width, height, centre, directions.astype(np.float32))


@lru_cache(maxsize=4)
def _noise_tiles(width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a (TILE, TILE) texture about 1 and an (H + 64, W + 64, 3) bank of pixel noise."""
    rng = np.random.default_rng(20131)
    texture = np.ones((TILE, TILE))
    for size, strength in ((TILE, 0.05), (TILE // 4, 0.05), (TILE // 16, 0.06)):
        patch = rng.normal(0, strength, (size, size))
        texture += np.kron(patch, np.ones((TILE // size, TILE // size)))
    bank = rng.normal(0, NOISE_LEVELS, (height + 64, width + 64, 3))
    return texture.astype(np.float32), bank.astype(np.float32)


@dataclass(frozen=True)
class _LitScene:
    """A scene with what its faces send to the camera.

    Attributes:
        camera: The camera.
        scene: The world.
        tracer: Of its mesh.
        normals: (F, 3) float32, turned to the camera's side.
        offset: (F,) float32, signed distance of its plane from the camera.
        sky_light: (F, 3) float32, reflected light of the sky.
        sun_light: (F, 3) float32, reflected light of the sun where nothing is in its way.
    """

    camera: Camera
    scene: Scene
    tracer: Caster
    normals: np.ndarray
    offset: np.ndarray
    sky_light: np.ndarray
    sun_light: np.ndarray


def photograph(tracer: Caster, scene: Scene, rng: np.random.Generator, camera: Camera) -> View:
    """Cast every pixel and shade it: sun with shadows, sky light, reflections, haze, noise."""
    lit = _light_faces(tracer, scene, camera)
    faces = pixel_faces(tracer, camera)
    height, width = camera.height, camera.width
    view = View(
        np.empty((height, width, 3), dtype=np.uint8),
        np.empty((height, width), dtype=np.float32),
        np.empty((height, width), dtype=np.int16),
    )
    _, bank = _noise_tiles(width, height)
    row, column = rng.integers(0, 64, 2)
    noise = bank[row : row + height, column : column + width]
    for top in range(0, height, BAND):
        rows = slice(top, min(top + BAND, height))
        colour, distance, owner = _shade_band(lit, rows, faces[rows])
        view.image[rows] = _develop(colour.reshape(-1, width, 3), scene.light, noise[rows])
        view.depth[rows], view.owner[rows] = distance.reshape(-1, width), owner.reshape(-1, width)
    return view


def pixel_faces(tracer: Caster, camera: Camera) -> np.ndarray:
    """Return the (H, W) int32 face that each pixel sees, -1 for the sky.

    Every second pixel of every second row is cast; one between cast pixels that all see the same
    face sees it too (a face is convex; something thinner than two pixels in front may be missed),
    and the others are cast.
    """
    centre, directions = camera.centre, camera.directions
    height, width = camera.height, camera.width
    unknown = np.int32(-2)
    faces = np.full((height, width), unknown)
    grid = np.arange(height * width).reshape(height, width)[::2, ::2]
    coarse = tracer.cast(centre, directions.take(grid.reshape(-1), axis=0))[1].reshape(grid.shape)
    beside = np.where(coarse[:, 1:] == coarse[:, :-1], coarse[:, 1:], unknown)
    below = np.where(coarse[1:] == coarse[:-1], coarse[1:], unknown)
    rows, columns = slice(1, 2 * len(below), 2), slice(1, 2 * beside.shape[1], 2)
    faces[::2, ::2] = coarse
    faces[::2, columns] = beside
    faces[rows, ::2] = below
    same = (beside[1:] == beside[:-1]) & (below[:, 1:] == beside[1:])
    faces[rows, columns] = np.where(same, beside[1:], unknown)
    open_pixels = np.flatnonzero(faces.reshape(-1) == unknown)
    faces.reshape(-1)[open_pixels] = tracer.cast(centre, directions.take(open_pixels, axis=0))[1]
    return faces


def _light_faces(tracer: Caster, scene: Scene, camera: Camera) -> _LitScene:
    """Light every face once; a flat face sends all pixels the same light."""
    offset = scene.vertices[scene.faces[:, 0]] - camera.centre.astype(np.float32)
    offset = np.einsum("ij,ij->i", offset, scene.normals)
    turn = np.where(offset > 0, np.float32(-1), np.float32(1))
    normals, offset = scene.normals * turn[:, None], offset * turn
    lambert = np.maximum(normals @ scene.light.sun, 0)[:, None]
    sky_share = 0.62 + 0.38 * normals[:, 2:3]
    sky_light = scene.rgb * (scene.light.sky_rgb * sky_share)
    return _LitScene(
        camera,
        scene,
        tracer,
        normals,
        offset,
        sky_light,
        scene.rgb * (scene.light.sun_rgb * lambert),
    )


def _shade_band(
    lit: _LitScene, rows: slice, faces: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shade some rows, given what they see: small bands stay in the processor's cache.

    Returns:
        (N, 3) linear red green blue, (N,) depth and (N,) owner of the rows' pixels.
    """
    scene = lit.scene
    width = lit.camera.width
    band = slice(rows.start * width, rows.stop * width)
    centre, directions = lit.camera.centre, lit.camera.directions[band]
    hit = faces.reshape(-1)
    owner = np.full(len(hit), UNOWNED, dtype=np.int16)
    distance = np.full(len(hit), np.inf, dtype=np.float32)
    image = _sky(scene.light, lit.camera.sky_blend[band])
    seen = np.flatnonzero(hit >= 0)
    face, rays = hit[seen], directions.take(seen, axis=0)
    slant = np.einsum("ij,ij->i", rays, lit.normals.take(face, axis=0))
    distance[seen] = lit.offset[face] / slant
    near = distance[seen, None]
    rays *= near
    points = rays + centre.astype(np.float32)
    colour = lit.sun_light.take(face, axis=0)
    colour *= _unshaded(lit, seen, face, points)[:, None]
    colour += lit.sky_light.take(face, axis=0)
    colour *= _texture(lit, face, points)[:, None]
    _mirror(lit, face, rays, colour)
    colour -= scene.light.horizon_rgb
    colour *= np.exp(near / -scene.light.visibility_m)
    colour += scene.light.horizon_rgb
    image[seen], owner[seen] = colour, scene.owner[face]
    return image, distance, owner


def _unshaded(lit: _LitScene, seen: np.ndarray, face: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return (N,) 1 where the sun reaches a seen pixel, else 0; cast at every second pixel."""
    sun = lit.scene.light.sun
    width = lit.camera.width
    row, column = np.divmod(seen.astype(np.int32), width)
    chosen = np.flatnonzero((row | column) & 1 == 0)
    starts = points[chosen] + 0.03 * lit.normals[face[chosen]] + 0.02 * sun
    small = np.zeros((BAND // 2, (width + 1) // 2), dtype=np.float32)
    row >>= 1
    column >>= 1
    small[row[chosen], column[chosen]] = ~lit.tracer.blocked(starts, sun)
    return small[row, column]


def _texture(lit: _LitScene, face: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return (N,) brightness factors: grain on everything static, windows on facades."""
    texture, _ = _noise_tiles(lit.camera.width, lit.camera.height)
    scene = lit.scene
    height = points[:, 2] * 24
    row, column = ((points[:, k] * 24 + height).astype(np.int32) & (TILE - 1) for k in range(2))
    factor = texture.reshape(-1).take(row * TILE + column)
    factor[scene.owner[face] != UNOWNED] = 1.0
    pixel = np.flatnonzero(scene.material[face] == Material.FACADE)
    facade = face[pixel]
    place, normal = points[pixel], scene.normals[facade]
    u = np.where(np.abs(normal[:, 1]) > 0.5, place[:, 0], place[:, 1])
    bay, storey = u / 2.6 % 1.0, (place[:, 2] + 1.65) / 3.0 % 1.0
    across, up = np.abs(bay - 0.5), np.abs(storey - 0.55)
    upright = np.abs(normal[:, 2]) < 0.5
    window = (across < 0.22) & (up < 0.25) & upright
    frame = (across < 0.25) & (up < 0.29) & ~window & upright
    factor[pixel[window]] *= 0.16
    factor[pixel[frame]] *= 1.35
    return factor


def _mirror(lit: _LitScene, face: np.ndarray, rays: np.ndarray, colour: np.ndarray) -> None:
    """Add the mirrored sky to shiny surfaces, in place."""
    light = lit.scene.light
    shiny = np.flatnonzero(IS_SHINY[lit.scene.material[face]])
    away, n = rays[shiny], lit.normals[face[shiny]]
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    along = np.einsum("ij,ij->i", away, n)[:, None]
    bounce = away - 2 * along * n
    share = 0.05 + 0.65 * (1 - np.abs(along)) ** 4
    above = np.where(bounce[:, 2:3] > 0, _sky(light, _sky_blend(bounce)), 0.25 * light.sky_rgb)
    glint = np.maximum(bounce @ light.sun, 0)[:, None] ** 60
    colour[shiny] = colour[shiny] * (1 - share) + share * above + 0.5 * glint * light.sun_rgb


def _sky(light: Light, blend: np.ndarray) -> np.ndarray:
    """Return the (N, 3) colour of the sky from the share (N,) of its deeper blue."""
    top = light.sky_rgb * np.array([0.75, 0.95, 1.35], dtype=np.float32)
    return light.horizon_rgb + blend[:, None] * (top - light.horizon_rgb)


def _sky_blend(rays: np.ndarray) -> np.ndarray:
    """Return (N,) 0 at the horizon and below, to 1 well above it."""
    level = np.sqrt(rays[:, 0] ** 2 + rays[:, 1] ** 2)
    return np.sqrt(np.clip(2.2 * rays[:, 2] / np.maximum(level, 1e-6), 0, 1))


def _develop(image: np.ndarray, light: Light, noise: np.ndarray) -> np.ndarray:
    """Turn linear red green blue into 8-bit blue green red with sensor noise; changes `image`."""
    image *= light.exposure
    np.clip(image, 0, 1.02, out=image)
    np.sqrt(image, out=image)
    image *= 255.0
    image += noise
    return np.clip(image, 0, 255, out=image).astype(np.uint8)[..., ::-1]
