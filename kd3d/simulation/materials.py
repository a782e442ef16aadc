"""What surfaces look like to the camera and to the LiDAR."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Material(IntEnum):
    """Surface kinds; the value is the row in the tables below."""

    ASPHALT = 0
    PAVEMENT = 1
    KERB = 2
    GRASS = 3
    MARKING = 4
    FACADE = 5
    ROOF = 6
    LEAF = 7
    BARK = 8
    METAL = 9
    PAINT = 10
    GLASS = 11
    TYRE = 12
    LAMP = 13
    TAIL_LAMP = 14
    PLATE = 15
    SKIN = 16
    HAIR = 17
    SHIRT = 18
    TROUSERS = 19
    SHOE = 20
    PLASTIC = 21
    SIGN = 22
    WOOD = 23
    CONCRETE = 24
    TRIM = 25
    PANEL = 26


# Linear albedo r, g, b (0 to 1), LiDAR reflectance (0 to 1), chance that a pulse returns at all.
_TABLE = {
    Material.ASPHALT: (0.20, 0.20, 0.21, 0.30, 0.99),
    Material.PAVEMENT: (0.38, 0.37, 0.35, 0.34, 0.99),
    Material.KERB: (0.46, 0.45, 0.43, 0.36, 0.99),
    Material.GRASS: (0.16, 0.24, 0.08, 0.36, 0.98),
    Material.MARKING: (0.75, 0.75, 0.73, 0.60, 0.99),
    Material.FACADE: (0.55, 0.50, 0.42, 0.32, 0.97),
    Material.ROOF: (0.35, 0.15, 0.10, 0.25, 0.97),
    Material.LEAF: (0.10, 0.20, 0.05, 0.33, 0.93),
    Material.BARK: (0.20, 0.15, 0.10, 0.27, 0.98),
    Material.METAL: (0.40, 0.41, 0.42, 0.30, 0.96),
    Material.PAINT: (0.50, 0.50, 0.50, 0.30, 0.93),
    Material.GLASS: (0.035, 0.045, 0.05, 0.06, 0.35),
    Material.TYRE: (0.03, 0.03, 0.03, 0.08, 0.90),
    Material.LAMP: (0.75, 0.75, 0.72, 0.55, 0.95),
    Material.TAIL_LAMP: (0.50, 0.03, 0.02, 0.75, 0.97),
    Material.PLATE: (0.75, 0.75, 0.70, 0.99, 0.99),
    Material.SKIN: (0.60, 0.40, 0.30, 0.40, 0.98),
    Material.HAIR: (0.08, 0.05, 0.03, 0.20, 0.96),
    Material.SHIRT: (0.40, 0.30, 0.30, 0.35, 0.98),
    Material.TROUSERS: (0.08, 0.09, 0.15, 0.30, 0.98),
    Material.SHOE: (0.10, 0.09, 0.08, 0.25, 0.97),
    Material.PLASTIC: (0.10, 0.14, 0.10, 0.28, 0.97),
    Material.SIGN: (0.65, 0.10, 0.08, 0.97, 0.99),
    Material.WOOD: (0.30, 0.20, 0.11, 0.30, 0.98),
    Material.CONCRETE: (0.42, 0.41, 0.39, 0.33, 0.98),
    Material.TRIM: (0.05, 0.05, 0.055, 0.15, 0.93),
    Material.PANEL: (0.60, 0.60, 0.60, 0.38, 0.97),
}
_ROWS = np.array([_TABLE[material] for material in Material], dtype=np.float32)
RETURN_CHANCE = _ROWS[:, 4].copy()
"""(M,) chance that a pulse on this material gives a return at short range, head on."""
IS_RETRO = np.isin(np.arange(len(_ROWS)), (Material.PLATE, Material.SIGN, Material.TAIL_LAMP))
"""(M,) bool: reflects towards the sensor at any incidence."""
IS_SHINY = np.isin(np.arange(len(_ROWS)), (Material.PAINT, Material.GLASS, Material.METAL))
"""(M,) bool: mirrors the sky."""

CAR_PAINTS = np.array(
    [
        (0.75, 0.75, 0.74),
        (0.50, 0.51, 0.53),
        (0.30, 0.31, 0.33),
        (0.12, 0.12, 0.13),
        (0.03, 0.03, 0.035),
        (0.04, 0.08, 0.25),
        (0.35, 0.03, 0.03),
        (0.05, 0.17, 0.10),
        (0.45, 0.38, 0.25),
        (0.15, 0.30, 0.45),
        (0.62, 0.45, 0.06),
    ],
    dtype=np.float32,
)
CAR_PAINT_SHARES = np.array([0.16, 0.22, 0.14, 0.10, 0.16, 0.08, 0.06, 0.02, 0.03, 0.02, 0.01])


class Palette:
    """The colours and reflectances of one thing's materials: the common table with changes.

    Attributes:
        rows: (M, 4) float32, linear r, g, b and LiDAR reflectance.
    """

    def __init__(
        self, changes: dict[Material, np.ndarray] | None = None, light: float = 1.0
    ) -> None:
        self.rows = _ROWS[:, :4].copy()
        self.rows[:, :3] *= light
        for material, rgb in (changes or {}).items():
            self.rows[material, :3] = rgb
            brightness = float(np.mean(rgb))
            self.rows[material, 3] *= 0.55 + 0.9 * min(brightness, 0.7)


def random_rgb(
    rng: np.random.Generator, low: float = 0.04, high: float = 0.6, saturation: float = 0.35
) -> np.ndarray:
    """Return a random linear colour (3,) about a grey between `low` and `high`."""
    grey = rng.uniform(low, high)
    return np.clip(grey * (1 + rng.normal(0, saturation, 3)), 0.02, 0.85).astype(np.float32)


def vehicle_palette(rng: np.random.Generator) -> Palette:
    """Return a palette with a car colour drawn by its share on European roads."""
    index = rng.choice(len(CAR_PAINTS), p=CAR_PAINT_SHARES / CAR_PAINT_SHARES.sum())
    paint = np.clip(CAR_PAINTS[index] * rng.uniform(0.85, 1.15), 0.02, 0.9)
    return Palette({Material.PAINT: paint, Material.PANEL: random_rgb(rng, 0.3, 0.75)})


def person_palette(rng: np.random.Generator) -> Palette:
    """Return a palette with random clothes, skin and hair; PAINT colours a bicycle's frame."""
    skin = np.array([0.62, 0.42, 0.32]) * rng.uniform(0.35, 1.1)
    hair = np.array([0.25, 0.16, 0.08]) * rng.uniform(0.1, 1.6)
    return Palette(
        {
            Material.SKIN: skin,
            Material.HAIR: hair,
            Material.SHIRT: random_rgb(rng, 0.05, 0.7),
            Material.TROUSERS: random_rgb(rng, 0.03, 0.3),
            Material.PAINT: random_rgb(rng),
        }
    )
