"""Parametric motorcycles, with or without a rider, standing on z = 0 and heading along x."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from kd3d.simulation.materials import Material
from kd3d.simulation.meshes import Mesh, box, ellipsoid, merge, tube, wheel
from kd3d.simulation.people import head, knee, limb, torso


@lru_cache(maxsize=2)
def motorcycle_template(rider: bool) -> Mesh:
    """Return a motorcycle about 2.1 x 0.75 m, 1.15 m high, or 1.6 m with its rider."""
    parts = [wheel((x, 0, 0.31), 0.31, 0.13, Material.TYRE, Material.METAL) for x in (0.72, -0.66)]
    parts += [
        box((0.0, 0, 0.48), (0.62, 0.32, 0.4), Material.TRIM),
        ellipsoid((0.18, 0, 0.82), (0.34, 0.17, 0.16), Material.PAINT),
        box((-0.42, 0, 0.78), (0.72, 0.26, 0.12), Material.TRIM),
        box((-0.8, 0, 0.72), (0.3, 0.2, 0.2), Material.PAINT),
        box((-0.97, 0, 0.72), (0.03, 0.14, 0.08), Material.TAIL_LAMP),
        box((0.72, 0, 0.9), (0.16, 0.2, 0.2), Material.LAMP),
        tube((0.42, 0, 1.0), (0.72, 0, 0.31), (0.05, 0.04), Material.METAL, sides=6),
        tube((0.4, -0.37, 1.05), (0.4, 0.37, 1.05), (0.02, 0.02), Material.TRIM, sides=6),
    ]
    parts += [box((0.42, s * 0.3, 1.15), (0.03, 0.12, 0.08), Material.METAL) for s in (1, -1)]
    if rider:
        parts += _rider()
    mesh = merge(parts)
    low, high = mesh.bounds
    return mesh.fitted(*(high - low))


def _rider() -> list[Mesh]:
    """A person on the seat with a helmet, hands on the bar and feet on the pegs."""
    hip = np.array([-0.3, 0, 0.86])
    shoulder = hip + [0.22, 0, 0.5]
    parts = [*torso(hip, shoulder), *head(shoulder + [0.06, 0, 0.2])]
    parts.append(ellipsoid(shoulder + [0.06, 0, 0.22], (0.14, 0.12, 0.15), Material.PLASTIC))
    for side in (1, -1):
        start, ankle = hip + [0, side * 0.1, 0], np.array([-0.05, side * 0.2, 0.36])
        bend = knee(start, ankle, 0.44, 0.43)
        parts += limb(start, bend, ankle, (0.085, 0.065, 0.05), Material.TROUSERS)
        parts.append(box(ankle + [0.06, 0, -0.05], (0.26, 0.09, 0.08), Material.SHOE))
        arm, hand = shoulder + [0, side * 0.2, -0.03], np.array([0.4, side * 0.33, 1.05])
        elbow = (arm + hand) / 2 + [0, side * 0.06, -0.05]
        parts += limb(arm, elbow, hand, (0.06, 0.05, 0.04), Material.SHIRT)
    return parts
