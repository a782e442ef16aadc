"""Triangle meshes and the solids they are made of. Axes: x forward, y left, z up; metres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

Vector = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh.

    Attributes:
        vertices: (V, 3) float64, metres.
        faces: (F, 3) int64, rows of `vertices`.
        material: (F,) int64, `materials.Material` of each face.
    """

    vertices: np.ndarray
    faces: np.ndarray
    material: np.ndarray

    @cached_property
    def bounds(self) -> np.ndarray:
        """(2, 3): lowest and highest coordinates."""
        return np.stack([self.vertices.min(axis=0), self.vertices.max(axis=0)])

    def moved(
        self, offset: Vector = (0, 0, 0), yaw_rad: float = 0.0, scale: Vector = (1, 1, 1)
    ) -> Mesh:
        """Return a scaled, then turned about z, then shifted copy."""
        points = self.vertices * np.asarray(scale)
        cos, sin = np.cos(yaw_rad), np.sin(yaw_rad)
        turn = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
        return Mesh(points @ turn + np.asarray(offset), self.faces, self.material)

    def fitted(self, length: float, width: float, height: float) -> Mesh:
        """Return a copy stretched to exactly this box: centred in x and y, standing on z = 0."""
        low, high = self.bounds
        scale = np.array([length, width, height]) / (high - low)
        centre = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
        return Mesh((self.vertices - centre) * scale, self.faces, self.material)


def merge(parts: Sequence[Mesh]) -> Mesh:
    """Join meshes into one."""
    starts = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    return Mesh(
        np.concatenate([part.vertices for part in parts]),
        np.concatenate([part.faces + start for part, start in zip(parts, starts)]),
        np.concatenate([part.material for part in parts]),
    )


def loft(rings: np.ndarray, material: int | np.ndarray, cap: int | None = None) -> Mesh:
    """Skin a row of closed cross-sections.

    Args:
        rings: (K, n, 3) corner points of K sections.
        material: One material, or (K - 1, n) of the quad after corner i of section k.
        cap: Material of the two end faces; None leaves them open.
    """
    count, corners = rings.shape[:2]
    k, i = np.meshgrid(np.arange(count - 1), np.arange(corners), indexing="ij")
    a, b = k * corners + i, k * corners + (i + 1) % corners
    quads = np.stack([a, b, b + corners, a + corners], axis=-1).reshape(-1, 4)
    kinds = np.broadcast_to(np.asarray(material), (count - 1, corners)).reshape(-1)
    vertices, faces = rings.reshape(-1, 3), [quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]
    materials = [kinds, kinds]
    if cap is not None:
        middle = len(vertices) + np.arange(2)
        vertices = np.concatenate([vertices, rings[[0, -1]].mean(axis=1)])
        ring = np.arange(corners)
        for start, hub in ((0, middle[0]), ((count - 1) * corners, middle[1])):
            fan = [np.full(corners, hub), start + ring, start + (ring + 1) % corners]
            faces.append(np.stack(fan, axis=1))
            materials.append(np.full(corners, cap))
    return Mesh(vertices, np.concatenate(faces), np.concatenate(materials).astype(np.int64))


@lru_cache(maxsize=1)
def _unit_box() -> Mesh:
    corners = np.array([(x, y) for x, y in ((1, 1), (-1, 1), (-1, -1), (1, -1))]) / 2
    rings = np.stack([np.column_stack([corners, np.full(4, z)]) for z in (-0.5, 0.5)])
    return loft(rings, 0, cap=0)


def box(centre: Vector, size: Vector, material: int) -> Mesh:
    """Return an upright box: `centre` (3,), `size` (3,) along x, y, z."""
    unit = _unit_box()
    return Mesh(unit.vertices * size + centre, unit.faces, np.full(len(unit.faces), int(material)))


def tube(start: Vector, end: Vector, radii: Vector, material: int, sides: int = 8) -> Mesh:
    """Return a (tapered) closed tube between two points; `radii` at its start and end."""
    start, end = np.asarray(start, dtype=float), np.asarray(end, dtype=float)
    axis = (end - start) / max(np.linalg.norm(end - start), 1e-9)
    helper = np.array([1.0, 0, 0]) if abs(axis[0]) < 0.8 else np.array([0, 1.0, 0])
    u = np.cross(axis, helper)
    u /= np.linalg.norm(u)
    v = np.cross(axis, u)
    angle = 2 * np.pi * np.arange(sides) / sides
    circle = np.cos(angle)[:, None] * u + np.sin(angle)[:, None] * v
    rings = np.stack([start + radii[0] * circle, end + radii[1] * circle])
    return loft(rings, material, cap=material)


def stack(
    levels: Sequence[tuple[float, float, float, float, float]], material: int, sides: int = 10
) -> Mesh:
    """Return a column of ellipses; a level is x, y, z, half depth (x) and half width (y)."""
    angle = 2 * np.pi * np.arange(sides) / sides
    rings = np.stack(
        [
            np.column_stack([x + a * np.cos(angle), y + b * np.sin(angle), np.full(sides, z)])
            for x, y, z, a, b in levels
        ]
    )
    return loft(rings, material, cap=material)


def ellipsoid(
    centre: Vector, radii: Vector, material: int, sides: int = 10, levels: int = 6
) -> Mesh:
    """Return an ellipsoid with `levels` sections."""
    tilt = np.linspace(-np.pi / 2 + 0.15, np.pi / 2 - 0.15, levels)
    x, y, z = centre
    return stack(
        [
            (
                x,
                y,
                z + radii[2] * np.sin(t) / np.sin(tilt[-1]),
                radii[0] * np.cos(t),
                radii[1] * np.cos(t),
            )
            for t in tilt
        ],
        material,
        sides,
    )


def wheel(
    centre: Vector, radius: float, width: float, tyre: int, hub: int, sides: int = 16
) -> Mesh:
    """Return a wheel turning about y: tread, tyre wall and hub disc on both sides."""
    angle = 2 * np.pi * np.arange(sides) / sides
    circle = np.column_stack([np.cos(angle), np.zeros(sides), np.sin(angle)])
    side = np.array([0, width / 2, 0])
    rings = np.stack(
        [
            0.62 * radius * circle - side,
            radius * circle - side,
            radius * circle + side,
            0.62 * radius * circle + side,
        ]
    )
    return loft(rings + np.asarray(centre, dtype=float), tyre, cap=hub)


def hoop(centre: Vector, radius: float, thickness: float, material: int, sides: int = 18) -> Mesh:
    """Return a thin open ring about y (a bicycle tyre): a square section swept round."""
    angle = 2 * np.pi * np.arange(sides + 1) / sides
    outward = np.column_stack([np.cos(angle), np.zeros(sides + 1), np.sin(angle)])
    side = np.array([0, thickness / 2, 0])
    inner = (radius - thickness) * outward
    rings = np.stack(
        [radius * outward - side, radius * outward + side, inner + side, inner - side], axis=1
    )
    return loft(rings + np.asarray(centre, dtype=float), material)


def leaves(rng: np.random.Generator, centres: np.ndarray, size_m: float, material: int) -> Mesh:
    """Return one randomly turned triangle at each of `centres` (N, 3): foliage one sees through."""
    count = len(centres)
    corners = rng.normal(size=(count, 3, 3))
    corners /= np.linalg.norm(corners, axis=2, keepdims=True)
    corners *= size_m * rng.uniform(0.6, 1.3, (count, 1, 1))
    vertices = (centres[:, None] + corners).reshape(-1, 3)
    faces = np.arange(3 * count).reshape(-1, 3)
    return Mesh(vertices, faces, np.full(count, material))
