"""Parametric cars and vans, standing on z = 0 and heading along x."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from kd3d.simulation.materials import Material
from kd3d.simulation.meshes import Mesh, box, loft, merge, wheel


@dataclass(frozen=True)
class BodyStyle:
    """A car's side view, in shares of its length (from its middle) and of its height.

    Attributes:
        cowl: Where the windscreen meets the bonnet.
        roof: Front and rear end of the roof.
        tail: Where the rear window meets the body.
        bonnet: Height of the bonnet at its front and at the windscreen.
        belt: Height of the lower edge of the side windows.
        boot: Height of the body's rear end.
        size: Mean length, width, height in metres.
        spread: Their standard deviations.
        panels: Rear sides without windows (panel van).
    """

    cowl: float
    roof: tuple[float, float]
    tail: float
    bonnet: tuple[float, float]
    belt: float
    boot: float
    size: tuple[float, float, float]
    spread: tuple[float, float, float]
    panels: bool = False


# Sizes: figures of common European models of each kind.
CARS = {
    "small": BodyStyle(
        0.27,
        (0.08, -0.36),
        -0.475,
        (0.47, 0.60),
        0.62,
        0.60,
        (3.45, 1.56, 1.52),
        (0.15, 0.04, 0.04),
    ),
    "hatchback": BodyStyle(
        0.22, (0.03, -0.33), -0.47, (0.46, 0.61), 0.63, 0.62, (3.86, 1.63, 1.49), (0.18, 0.05, 0.04)
    ),
    "saloon": BodyStyle(
        0.20, (0.02, -0.20), -0.37, (0.46, 0.62), 0.64, 0.66, (4.30, 1.68, 1.45), (0.2, 0.05, 0.04)
    ),
    "estate": BodyStyle(
        0.21,
        (0.03, -0.42),
        -0.485,
        (0.46, 0.61),
        0.63,
        0.60,
        (4.35, 1.68, 1.51),
        (0.18, 0.05, 0.04),
    ),
    "people_carrier": BodyStyle(
        0.31, (0.11, -0.42), -0.485, (0.47, 0.60), 0.60, 0.56, (4.15, 1.72, 1.69), (0.2, 0.05, 0.06)
    ),
    "off_roader": BodyStyle(
        0.21, (0.08, -0.43), -0.485, (0.54, 0.62), 0.62, 0.58, (4.22, 1.75, 1.75), (0.2, 0.06, 0.06)
    ),
}
CAR_SHARES = {
    "small": 0.24,
    "hatchback": 0.32,
    "saloon": 0.14,
    "estate": 0.17,
    "people_carrier": 0.08,
    "off_roader": 0.05,
}
VANS = {
    "panel_van": BodyStyle(
        0.36,
        (0.24, -0.485),
        -0.497,
        (0.40, 0.50),
        0.52,
        0.50,
        (5.30, 1.95, 2.40),
        (0.5, 0.07, 0.2),
        True,
    ),
    "minibus": BodyStyle(
        0.37,
        (0.25, -0.47),
        -0.495,
        (0.42, 0.52),
        0.53,
        0.50,
        (4.85, 1.90, 1.98),
        (0.25, 0.05, 0.06),
    ),
}


@lru_cache(maxsize=64)
def car_template(style_name: str) -> Mesh:
    """Return the mesh of a style of CARS or VANS at its mean size."""
    style = {**CARS, **VANS}[style_name]
    length, width, height = style.size
    parts = [_lower_body(style), _upper_body(style), *_fittings(style)]
    radius = 0.31 + 0.05 * (height > 1.6)
    for x in (0.315 * length, -0.30 * length):
        for y in (width / 2 - 0.1, -width / 2 + 0.1):
            parts.append(wheel((x, y, radius), radius, 0.2, Material.TYRE, Material.METAL))
    return merge(parts).fitted(length, width, height)


def _lower_body(style: BodyStyle) -> Mesh:
    """The body up to the bonnet and the windows' lower edge."""
    length, width, height = style.size
    front, rear = style.bonnet[0], style.boot
    sections = np.array(
        [  # place, top, half width, bottom
            (0.500, front - 0.07, 0.78, 0.17),
            (0.488, front - 0.01, 0.86, 0.14),
            (0.450, front + 0.02, 0.95, 0.13),
            (0.360, 0.6 * front + 0.4 * style.bonnet[1], 0.99, 0.12),
            (style.cowl, style.bonnet[1], 1.0, 0.12),
            (0.0, style.belt, 1.0, 0.12),
            (-0.30, style.belt, 1.0, 0.12),
            (-0.44, 0.5 * (style.belt + rear), 0.97, 0.14),
            (-0.485, rear, 0.92, 0.17),
            (-0.500, rear - 0.14, 0.84, 0.20),
        ]
    )
    if style.cowl > 0.35:
        sections[3, :2] = style.cowl + 0.03, 0.75 * style.bonnet[1] + 0.25 * front
    rings = []
    for place, top, half, bottom in sections:
        y = half * 0.975 * width / 2
        rise = (top - bottom) * height
        low = bottom * height
        side = [(0.86, 0.0), (0.98, 0.22), (1.0, 0.55), (0.965, 0.86), (0.86, 1.0)]
        points = [(y * a, low + rise * b) for a, b in side]
        points += [(-a, b) for a, b in points[::-1]]
        rings.append([(place * length, a, b) for a, b in points])
    return loft(np.array(rings), Material.PAINT, cap=Material.PAINT)


def _upper_body(style: BodyStyle) -> Mesh:
    """Windscreen, side windows with pillars, roof and rear window."""
    length, width, height = style.size
    belt, roof_front, roof_rear = style.belt, *style.roof
    b_pillar = roof_front - 0.42 * (roof_front - roof_rear)
    c_pillar = roof_rear + 0.10 * (roof_front - roof_rear)
    places = [
        (style.cowl, 0.02),
        (roof_front, 0.95),
        (b_pillar + 0.012, 1.0),
        (b_pillar - 0.012, 1.0),
        (c_pillar, 0.985),
        (roof_rear, 0.93),
        (style.tail, 0.02),
    ]
    tumble = 0.70 if height < 1.6 else (0.78 if height < 1.9 else 0.88)
    side = [(0.90, 0.0), (0.885, 0.10), (tumble + 0.02, 0.86), (tumble - 0.08, 1.0)]
    rings = []
    for place, share in places:
        rise = (1 - belt) * height * share
        points = [(a * width / 2, belt * height - 0.01 + rise * b) for a, b in side]
        points += [(-a, b) for a, b in points[::-1]]
        rings.append([(place * length, a, b) for a, b in points])
    material = np.full((len(places) - 1, 8), int(Material.PAINT))
    material[[0, 5], 3] = Material.GLASS
    material[[0, 5], 2] = material[[0, 5], 4] = Material.GLASS
    material[1, [1, 5]] = Material.GLASS
    if not style.panels:
        material[3, [1, 5]] = Material.GLASS
        if roof_rear < -0.4:
            material[4, [1, 5]] = Material.GLASS
    return loft(np.array(rings), material, cap=Material.PAINT)


def _fittings(style: BodyStyle) -> list[Mesh]:
    """Lamps, number plates, grille and bumper."""
    length, width, height = style.size
    front, rear, lamp = length / 2, -length / 2, (style.bonnet[0] - 0.09) * height
    tail = (style.boot - 0.12) * height
    parts = [
        box((front - 0.005, 0, 0.27 * height), (0.03, 0.52, 0.11), Material.PLATE),
        box((rear + 0.005, 0, 0.38 * height), (0.03, 0.52, 0.11), Material.PLATE),
        box((front - 0.02, 0, lamp), (0.05, 0.36 * width, 0.13), Material.TRIM),
        box((front - 0.02, 0, 0.19 * height), (0.05, 0.62 * width, 0.10), Material.TRIM),
    ]
    for side in (1, -1):
        parts.append(
            box(
                (front - 0.035, side * 0.33 * width, lamp + 0.01),
                (0.06, 0.22 * width, 0.13),
                Material.LAMP,
            )
        )
        parts.append(
            box(
                (rear + 0.035, side * 0.37 * width, tail),
                (0.06, 0.13 * width, 0.17),
                Material.TAIL_LAMP,
            )
        )
    return parts
