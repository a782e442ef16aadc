"""Parametric lorries, trams and trailers, standing on z = 0 and heading along x."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from kd3d.simulation.materials import Material
from kd3d.simulation.meshes import Mesh, box, loft, merge, wheel


@lru_cache(maxsize=8)
def truck_template(kind: str) -> Mesh:
    """Return a lorry with a closed body ("box"), a tipper ("open"), or a bus-like tram ("tram")."""
    if kind == "tram":
        return _tram()
    length, width, height = (9.0, 2.50, 3.4) if kind == "box" else (7.5, 2.45, 2.9)
    nose = length / 2
    cab = np.array(
        [
            (nose - 0.02, 0.9),
            (nose, 1.5),
            (nose - 0.25, 2.55),
            (nose - 1.9, 2.7),
            (nose - 1.9, 0.5),
            (nose, 0.5),
        ]
    )
    rings = np.stack(
        [
            np.column_stack([cab[:, 0], np.full(6, y), cab[:, 1]])
            for y in (-width * 0.48, width * 0.48)
        ]
    )
    material = np.array(
        [
            [
                Material.PAINT,
                Material.GLASS,
                Material.PAINT,
                Material.PAINT,
                Material.TRIM,
                Material.TRIM,
            ]
        ]
    )
    parts = [loft(rings, material, cap=Material.PAINT)]
    for y in (-0.485 * width, 0.485 * width):
        parts.append(box((nose - 1.0, y, 1.95), (1.0, 0.03, 0.75), Material.GLASS))
    body = length - 2.05
    top = height if kind == "box" else 2.0
    parts.append(
        box(
            (-length / 2 + body / 2, 0, (1.05 + top) / 2), (body, width, top - 1.05), Material.PANEL
        )
    )
    parts.append(box((-0.2, 0, 0.85), (length - 0.8, 0.9, 0.35), Material.TRIM))
    parts.append(box((-length / 2 + 0.03, 0, 0.75), (0.06, 2.2, 0.14), Material.TAIL_LAMP))
    parts.append(box((nose + 0.01, 0, 0.62), (0.04, 0.52, 0.11), Material.PLATE))
    parts += _axles((nose - 1.1, -length / 2 + 1.2, -length / 2 + 2.3), width)
    return merge(parts).fitted(length, width, height)


def _tram() -> Mesh:
    length, width, height = 16.0, 2.4, 3.5
    parts = []
    for z, tall, material in (
        (0.85, 1.1, Material.PAINT),
        (1.95, 1.1, Material.GLASS),
        (3.0, 1.0, Material.PANEL),
    ):
        x = np.array([length / 2 - 0.7, length / 2]) - (0.15 if z > 1.5 else 0.0)
        outline = [
            (x[0], 1.0),
            (x[1], 0.6),
            (x[1], -0.6),
            (x[0], -1.0),
            (-x[0], -1.0),
            (-x[1], -0.6),
            (-x[1], 0.6),
            (-x[0], 1.0),
        ]
        rings = [[(a, b * width / 2, z + s * tall / 2) for a, b in outline] for s in (-1, 1)]
        parts.append(loft(np.array(rings), material, cap=material))
    parts.append(box((0, 0, 0.2), (length - 2.0, width * 0.8, 0.4), Material.TRIM))
    return merge(parts).fitted(length, width, height)


@lru_cache(maxsize=1)
def trailer_template() -> Mesh:
    """Return a small covered trailer (KITTI's Misc)."""
    parts = [
        box((0, 0, 0.95), (2.2, 1.3, 1.0), Material.SHIRT),
        box((1.5, 0, 0.5), (1.0, 0.1, 0.08), Material.METAL),
    ]
    parts += [box((-1.11, s * 0.5, 0.55), (0.04, 0.2, 0.12), Material.TAIL_LAMP) for s in (1, -1)]
    parts += [wheel((0, s * 0.7, 0.3), 0.3, 0.18, Material.TYRE, Material.METAL) for s in (1, -1)]
    return merge(parts).fitted(3.1, 1.6, 1.45)


@lru_cache(maxsize=1)
def bus_template() -> Mesh:
    """Return a city bus, 11.2 x 2.9 x 3.4 m."""
    length, width, height = 11.2, 2.9, 3.4
    nose = length / 2
    parts = [
        box((0, 0, z), (length - 0.1 * inset, width - 0.06 * inset, tall), material)
        for z, tall, inset, material in (
            (0.8, 0.9, 0, Material.PAINT),
            (1.8, 1.1, 1, Material.GLASS),
            (2.8, 0.9, 0, Material.PAINT),
        )
    ]
    parts.append(box((nose + 0.01, 0, 1.85), (0.04, width - 0.4, 1.2), Material.GLASS))
    for x in np.linspace(-nose + 0.1, nose - 0.1, 7):
        parts += [box((x, s * width / 2, 1.8), (0.15, 0.06, 1.1), Material.PAINT) for s in (1, -1)]
    for side in (0.4 * width, -0.4 * width):
        parts.append(box((nose + 0.01, side, 0.7), (0.05, 0.35, 0.2), Material.LAMP))
        parts.append(box((-nose - 0.01, side, 0.8), (0.05, 0.25, 0.35), Material.TAIL_LAMP))
    return merge([*parts, *_axles((nose - 2.6, -nose + 3.2), width)]).fitted(length, width, height)


@lru_cache(maxsize=1)
def semitrailer_template() -> Mesh:
    """Return a closed trailer of an articulated lorry, 12.2 x 2.9 x 3.9 m."""
    length, width, height = 12.2, 2.9, 3.9
    rear = -length / 2
    parts = [
        box((0, 0, 2.55), (length, width, 2.7), Material.PANEL),
        box((0, 0, 1.05), (length - 0.6, 1.0, 0.3), Material.TRIM),
        box((rear + 0.03, 0, 1.05), (0.06, 2.4, 0.16), Material.TAIL_LAMP),
    ]
    parts += [box((3.4, s, 0.55), (0.12, 0.12, 0.9), Material.METAL) for s in (0.8, -0.8)]
    parts += _axles((rear + 1.2, rear + 2.4, rear + 3.6), width)
    return merge(parts).fitted(length, width, height)


def _axles(places: tuple[float, ...], width: float) -> list[Mesh]:
    """Wheels of 1 m at both sides of each place."""
    return [
        wheel((x, y, 0.5), 0.5, 0.3, Material.TYRE, Material.METAL)
        for x in places
        for y in (width / 2 - 0.15, 0.15 - width / 2)
    ]
