"""What stands at road works: an excavator, barriers and traffic cones, on z = 0 and facing x."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from kd3d.simulation.materials import Material
from kd3d.simulation.meshes import Mesh, box, loft, merge, stack, tube, wheel


@lru_cache(maxsize=2)
def digger_template(kind: str) -> Mesh:
    """Return an "excavator" on tracks (7.2 x 2.8 x 3.2 m) or a wheel "loader" (6.4 x 2.6 x 3.1)."""
    return _excavator() if kind == "excavator" else _loader()


def _excavator() -> Mesh:
    parts = [box((-0.6, s * 1.1, 0.45), (3.6, 0.6, 0.9), Material.TYRE) for s in (1, -1)]
    parts += [
        box((-0.9, 0, 1.5), (3.0, 2.5, 1.0), Material.PAINT),
        box((-2.0, 0, 1.6), (0.9, 2.6, 1.2), Material.TRIM),
        box((0.1, 0.75, 2.3), (1.4, 1.0, 1.7), Material.GLASS),
        box((0.1, 0.75, 3.12), (1.5, 1.05, 0.12), Material.PAINT),
        tube((0.3, -0.3, 1.6), (2.5, -0.3, 3.1), (0.28, 0.2), Material.PAINT, sides=4),
        tube((2.5, -0.3, 3.1), (3.7, -0.3, 1.2), (0.2, 0.15), Material.PAINT, sides=4),
    ]
    bucket = np.array([(3.2, 0.4), (4.0, 0.5), (4.1, 1.2), (3.6, 1.3)])
    rings = np.stack(
        [np.column_stack([bucket[:, 0], np.full(4, y), bucket[:, 1]]) for y in (-0.8, 0.2)]
    )
    parts.append(loft(rings, Material.METAL, cap=Material.METAL))
    return merge(parts).fitted(7.2, 2.8, 3.2)


def _loader() -> Mesh:
    parts = [
        box((-1.4, 0, 1.35), (2.6, 1.8, 1.1), Material.PAINT),
        box((-0.2, 0, 2.3), (1.5, 1.5, 1.6), Material.GLASS),
        box((-0.2, 0, 3.05), (1.6, 1.6, 0.1), Material.PAINT),
        box((0.9, 0, 1.1), (1.2, 1.2, 0.7), Material.PAINT),
        box((3.0, 0, 0.7), (0.9, 2.6, 1.1), Material.METAL),
    ]
    parts += [
        tube((0.9, s, 1.5), (2.7, s, 0.9), (0.14, 0.12), Material.PAINT, sides=4)
        for s in (0.5, -0.5)
    ]
    parts += [
        wheel((x, y, 0.75), 0.75, 0.5, Material.TYRE, Material.METAL)
        for x in (1.1, -1.6)
        for y in (1.0, -1.0)
    ]
    return merge(parts).fitted(6.4, 2.6, 3.1)


@lru_cache(maxsize=2)
def barrier_template(kind: str) -> Mesh:
    """Return a "concrete" or "plastic" barrier 0.5 x 2.5 x 1.0 m: its long side across x."""
    profile = np.array(
        [(-0.25, 0), (0.25, 0), (0.22, 0.25), (0.09, 0.45), (0.08, 1), (-0.08, 1)]
        + [(-0.09, 0.45), (-0.22, 0.25)]
    )
    rings = np.stack(
        [np.column_stack([profile[:, 0], np.full(8, y), profile[:, 1]]) for y in (-1.25, 1.25)]
    )
    material = Material.CONCRETE if kind == "concrete" else Material.PLASTIC
    parts = [loft(rings, material, cap=material)]
    if kind == "plastic":
        parts.append(box((0, 0, 0.8), (0.2, 1.2, 0.2), Material.PANEL))
    return merge(parts).fitted(0.5, 2.5, 1.0)


@lru_cache(maxsize=1)
def cone_template() -> Mesh:
    """Return a traffic cone 0.4 x 0.4 x 0.9 m with a white collar."""
    levels = [(0, 0, 0.05, 0.16, 0.16), (0, 0, 0.9, 0.03, 0.03)]
    collar = [(0, 0, 0.45, 0.115, 0.115), (0, 0, 0.65, 0.082, 0.082)]
    return merge(
        [
            box((0, 0, 0.03), (0.4, 0.4, 0.06), Material.PLASTIC),
            stack(levels, Material.PLASTIC, sides=8),
            stack(collar, Material.SIGN, sides=8),
        ]
    ).fitted(0.4, 0.4, 0.9)
