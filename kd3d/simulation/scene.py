"""A frame's world: meshes put together, with an owner, a colour and a reflectance for each face.

World axes are those of the rectified camera, renamed: x forward, y left, z up, origin in camera 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kd3d.simulation.materials import Material, Palette
from kd3d.simulation.meshes import Mesh
from kd3d.simulation.road import Road

UNOWNED = -1


@dataclass(frozen=True)
class Actor:
    """A thing with a label.

    Attributes:
        kind: KITTI type or nuScenes category, e.g. "Car".
        mesh: Its mesh in the world.
        box: (7,) x, y, z_bottom, length, width, height, yaw in metres and radians: the tight box
            of the mesh about its heading.
    """

    kind: str
    mesh: Mesh
    box: np.ndarray


@dataclass(frozen=True)
class Light:
    """Illumination of a frame.

    Attributes:
        sun: (3,) unit vector towards the sun.
        sun_rgb: (3,) strength of direct light.
        sky_rgb: (3,) strength of light from the sky.
        horizon_rgb: (3,) colour of haze and horizon.
        visibility_m: Distance at which haze takes 63 %.
        exposure: Camera gain.
    """

    sun: np.ndarray
    sun_rgb: np.ndarray
    sky_rgb: np.ndarray
    horizon_rgb: np.ndarray
    visibility_m: float
    exposure: float


@dataclass(frozen=True)
class Scene:
    """Everything to cast rays at.

    Attributes:
        vertices: (V, 3) float32, world metres.
        faces: (F, 3) uint32.
        normals: (F, 3) float32, unit; either side.
        rgb: (F, 3) float32, linear albedo.
        reflectance: (F,) float32, for the LiDAR.
        material: (F,) int16, `Material`.
        owner: (F,) int16, index into `actors`, or `UNOWNED`.
        actors: The labelled things.
        light: Sun, sky and haze of the frame.
    """

    vertices: np.ndarray
    faces: np.ndarray
    normals: np.ndarray
    rgb: np.ndarray
    reflectance: np.ndarray
    material: np.ndarray
    owner: np.ndarray
    actors: list[Actor]
    light: Light


class Footprints:
    """Keeps things apart on the ground: each is a row of discs along its length."""

    def __init__(self) -> None:
        self._discs = np.zeros((0, 3))

    def claim(
        self, x: float, y: float, yaw_rad: float, length: float, width: float, gap: float
    ) -> bool:
        """Take the place if it is free, `gap` metres included; say whether it was."""
        discs = self._row(x, y, yaw_rad, length, width)
        if self._taken(discs, gap):
            return False
        self._discs = np.concatenate([self._discs, discs])
        return True

    def _taken(self, discs: np.ndarray, gap: float) -> bool:
        """Whether one of `discs` (K, 3) x, y, radius comes too near to one that is there."""
        apart = np.hypot(*(discs[:, None, :2] - self._discs[None, :, :2]).transpose(2, 0, 1))
        return bool((apart < discs[:, None, 2] + self._discs[None, :, 2] + gap).any())

    @staticmethod
    def _row(x: float, y: float, yaw_rad: float, length: float, width: float) -> np.ndarray:
        radius = 0.5 * min(length, width)
        count = max(int(np.ceil(length / max(width, 0.2))), 1)
        along = (
            np.linspace(-1, 1, count) * max(length / 2 - radius, 0.0) if count > 1 else np.zeros(1)
        )
        return np.column_stack(
            [
                x + along * np.cos(yaw_rad),
                y + along * np.sin(yaw_rad),
                np.full(count, radius * 1.08),
            ]
        )


class SceneBuilder:
    """Collects placed meshes and joins them.

    Args:
        rng: The frame's generator.
        road: The ground everything stands on.
        footprints: What keeps things apart; plain `Footprints` by default.
    """

    def __init__(
        self, rng: np.random.Generator, road: Road, footprints: Footprints | None = None
    ) -> None:
        self.rng, self.road = rng, road
        self.actors: list[Actor] = []
        self.footprints = Footprints() if footprints is None else footprints
        self._parts: list[tuple[Mesh, Palette, int]] = []

    def claim(
        self, s: float, d: float, turn_rad: float, length: float, width: float, gap: float
    ) -> bool:
        """Take a place in path coordinates if it is free."""
        x, y, _ = self.road.locate(s, d)
        yaw = float(self.road.heading_at(s)) + turn_rad
        return self.footprints.claim(x, y, yaw, length, width, gap)

    def add(
        self,
        mesh: Mesh,
        s: float,
        d: float,
        turn_rad: float,
        palette: Palette,
        scale: Sequence[float] | np.ndarray = (1, 1, 1),
        kind: str | None = None,
    ) -> None:
        """Stand a mesh on the ground at (s, d), turned from the road's direction.

        Args:
            mesh: Standing on z = 0, heading along x.
            s: Place along the road, metres.
            d: Place to the left of its middle, metres.
            turn_rad: Heading relative to the road.
            palette: Its colours.
            scale: Factors along x, y, z.
            kind: What to label it as; None for scenery.
        """
        place = self.road.locate(s, d)
        yaw = float(self.road.heading_at(s)) + turn_rad
        placed = mesh.moved(place, yaw, scale)
        owner = UNOWNED
        if kind is not None:
            owner = len(self.actors)
            low, high = mesh.bounds * np.asarray(scale)
            yaw = np.arctan2(np.sin(yaw), np.cos(yaw))
            box = np.array([place[0], place[1], place[2] + low[2], *(high - low), yaw])
            self.actors.append(Actor(kind, placed, box))
        self._parts.append((placed, palette, owner))

    def add_ground(self, palette: Palette) -> None:
        """Add the road's mesh."""
        self._parts.append((self.road.mesh(), palette, UNOWNED))

    def build(self, light: Light) -> Scene:
        """Join everything."""
        starts = np.cumsum([0] + [len(mesh.vertices) for mesh, _, _ in self._parts[:-1]])
        vertices = np.concatenate([mesh.vertices for mesh, _, _ in self._parts]).astype(np.float32)
        faces = np.concatenate([m.faces + start for (m, _, _), start in zip(self._parts, starts)])
        rows = np.concatenate([palette.rows[mesh.material] for mesh, palette, _ in self._parts])
        material = np.concatenate([mesh.material for mesh, _, _ in self._parts]).astype(np.int16)
        owner = np.repeat(
            np.array([owner for _, _, owner in self._parts], dtype=np.int16),
            [len(mesh.faces) for mesh, _, _ in self._parts],
        )
        a, b, c = (vertices[faces[:, k]] for k in range(3))
        normals = np.cross(b - a, c - a)
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
        rgb = rows[:, :3].copy()
        leaf = material == Material.LEAF
        rgb[leaf] *= self.rng.uniform(0.55, 1.5, (int(leaf.sum()), 1)).astype(np.float32)
        return Scene(
            vertices,
            faces.astype(np.uint32),
            normals,
            rgb,
            rows[:, 3].copy(),
            material,
            owner,
            self.actors,
            light,
        )
