"""Things that are not labelled: trees, bushes, poles, signs, bins, benches, walls, buildings."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from kd3d.simulation.materials import Material
from kd3d.simulation.meshes import Mesh, box, leaves, loft, merge, stack, tube

TREES, BUSHES = 8, 4
DETAILS = ((1.6, 0.8), (0.5, 1.4), (0.18, 2.2))
"""Share of the leaves, and their size, near, at middle distance, and far away."""


@lru_cache(maxsize=3 * TREES)
def tree_template(index: int, detail: int) -> Mesh:
    """Return one of `TREES` trees, 7 to 12 m tall; the last two are conifers.

    Args:
        index: 0 to TREES - 1.
        detail: Row of `DETAILS`: 0 near, 2 far away (fewer, larger leaves).
    """
    rng = np.random.default_rng([20121, index])
    share, size = DETAILS[detail]
    if index >= TREES - 2:
        return _conifer(rng, round(520 * share), 0.38 * size)
    height, radius = rng.uniform(7, 11), rng.uniform(0.13, 0.25)
    fork = height * rng.uniform(0.26, 0.36)
    parts = [tube((0, 0, -0.3), (0, 0, fork), (radius * 1.3, radius), Material.BARK)]
    clumps = []
    for k in range(6):
        angle = k * 2 * np.pi / 6 + rng.uniform(-0.4, 0.4)
        reach = rng.uniform(0.12, 0.26) * height
        top = np.array(
            [reach * np.cos(angle), reach * np.sin(angle), rng.uniform(0.55, 0.85) * height]
        )
        parts.append(
            tube(
                (0, 0, fork * rng.uniform(0.8, 1.0)),
                top,
                (radius * 0.55, 0.03),
                Material.BARK,
                sides=4,
            )
        )
        clumps.append(top)
    clumps.append(np.array([0, 0, 0.85 * height]))
    count = round(100 * share)
    centres = []
    for clump in clumps:
        spread = np.array([0.17, 0.17, 0.14]) * height * rng.uniform(0.8, 1.15)
        centres.append(clump + _ball(rng, count) * spread)
    parts.append(leaves(rng, np.concatenate(centres), 0.38 * size, Material.LEAF))
    return merge(parts)


def _ball(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return (count, 3) points in the outer part of the unit ball."""
    way = rng.normal(size=(count, 3))
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    return way * rng.uniform(0.4, 1.0, (count, 1)) ** 0.5


def _conifer(rng: np.random.Generator, count: int, size_m: float) -> Mesh:
    height = rng.uniform(8, 12)
    level = rng.uniform(0.08, 1.0, count)
    angle = rng.uniform(0, 2 * np.pi, count)
    reach = (1.02 - level) * height * 0.24 * rng.uniform(0.4, 1.0, count)
    centres = np.column_stack([reach * np.cos(angle), reach * np.sin(angle), level * height])
    trunk = tube((0, 0, -0.3), (0, 0, 0.9 * height), (0.2, 0.03), Material.BARK)
    return merge([trunk, leaves(rng, centres, size_m, Material.LEAF)])


@lru_cache(maxsize=3 * BUSHES)
def bush_template(index: int, detail: int) -> Mesh:
    """Return one of `BUSHES` bushes, about 1.5 m across; `detail` as for trees."""
    rng = np.random.default_rng([20122, index])
    share, size = DETAILS[detail]
    centres = _ball(rng, round(200 * share)) * [0.75, 0.75, 0.55] + [0, 0, 0.55]
    return leaves(rng, centres, 0.16 * size, Material.LEAF)


@lru_cache(maxsize=3)
def hedge_template(detail: int) -> Mesh:
    """Return a piece of hedge 4 x 0.9 x 1.4 m."""
    rng = np.random.default_rng(20123)
    share, size = DETAILS[detail]
    centres = rng.uniform((-2, -0.4, 0.05), (2, 0.4, 1.4), (round(220 * share), 3))
    core = box((0, 0, 0.68), (3.9, 0.5, 1.36), Material.LEAF)
    return merge([core, leaves(rng, centres, 0.17 * size, Material.LEAF)])


@lru_cache(maxsize=8)
def furniture_template(kind: str) -> Mesh:
    """Return a piece of street furniture by name (see `FURNITURE`)."""
    return FURNITURE[kind]()


def _lamp_post() -> Mesh:
    return merge(
        [
            tube((0, 0, -0.1), (0, 0, 7.2), (0.09, 0.05), Material.METAL),
            tube((0, 0, 7.2), (1.4, 0, 7.5), (0.04, 0.04), Material.METAL, sides=6),
            box((1.5, 0, 7.47), (0.7, 0.25, 0.12), Material.LAMP),
        ]
    )


def _sign() -> Mesh:
    turn = 2 * np.pi * np.arange(12) / 12
    disc = np.column_stack([np.zeros(12), 0.31 * np.cos(turn), 2.25 + 0.31 * np.sin(turn)])
    plate = loft(
        np.stack([disc - [0.06, 0, 0], disc - [0.04, 0, 0]]), Material.METAL, cap=Material.SIGN
    )
    return merge([tube((0, 0, -0.1), (0, 0, 2.6), (0.035, 0.035), Material.METAL, sides=6), plate])


def _traffic_light() -> Mesh:
    return merge(
        [
            tube((0, 0, -0.1), (0, 0, 3.2), (0.06, 0.06), Material.METAL),
            box((-0.1, 0, 2.75), (0.2, 0.3, 0.9), Material.TRIM),
            box((-0.21, 0, 3.0), (0.02, 0.18, 0.18), Material.TAIL_LAMP),
        ]
    )


def _bin() -> Mesh:
    rings = [
        [(0.22 * w * x, 0.25 * w * y, z) for x, y in ((1, 1), (-1, 1), (-1, -1), (1, -1))]
        for w, z in ((0.85, 0.08), (1.0, 0.95))
    ]
    lid = box((0, 0, 1.0), (0.5, 0.54, 0.09), Material.TRIM)
    return merge(
        [
            loft(np.array(rings), Material.PLASTIC, cap=Material.PLASTIC),
            lid,
            tube((-0.2, -0.2, 0.09), (-0.2, 0.2, 0.09), (0.09, 0.09), Material.TYRE),
        ]
    )


def _litter_bin() -> Mesh:
    return merge(
        [
            tube((0, 0, 0), (0, 0, 0.7), (0.04, 0.04), Material.METAL),
            box((0, 0, 0.85), (0.35, 0.4, 0.6), Material.METAL),
        ]
    )


def _bench() -> Mesh:
    parts = [
        box((0, 0, 0.45), (0.45, 1.7, 0.06), Material.WOOD),
        box((-0.24, 0, 0.75), (0.06, 1.7, 0.35), Material.WOOD),
    ]
    parts += [box((0, y, 0.22), (0.4, 0.08, 0.44), Material.CONCRETE) for y in (-0.7, 0.7)]
    return merge(parts)


def _bollard() -> Mesh:
    return stack(
        [(0, 0, 0, 0.09, 0.09), (0, 0, 0.8, 0.08, 0.08), (0, 0, 0.95, 0.05, 0.05)],
        Material.METAL,
        sides=8,
    )


def _cabinet() -> Mesh:
    return box((0, 0, 0.6), (0.4, 1.1, 1.2), Material.METAL)


def _advert() -> Mesh:
    return merge(
        [
            box((0, 0, 1.6), (0.18, 1.3, 1.9), Material.PANEL),
            box((0, 0, 0.35), (0.14, 0.9, 0.7), Material.METAL),
        ]
    )


FURNITURE = {
    "lamp_post": _lamp_post,
    "sign": _sign,
    "traffic_light": _traffic_light,
    "bin": _bin,
    "litter_bin": _litter_bin,
    "bench": _bench,
    "bollard": _bollard,
    "cabinet": _cabinet,
    "advert": _advert,
}


def building(rng: np.random.Generator, length: float, depth: float, storeys: int) -> Mesh:
    """Return a house with its details, its front along y = 0 and the house at y > 0."""
    height = 3.0 * storeys + rng.uniform(0.2, 0.8)
    parts = [box((0, depth / 2, height / 2 - 0.5), (length, depth, height + 1.0), Material.FACADE)]
    if rng.random() < 0.65:
        ridge, over = rng.uniform(2.0, 4.5), 0.45
        gable = np.array(
            [(-over, height - 0.2), (depth + over, height - 0.2), (depth / 2, height + ridge)]
        )
        ends = (-length / 2 - 0.2, length / 2 + 0.2)
        rings = np.stack([np.column_stack([np.full(3, x), gable]) for x in ends])
        parts.append(loft(rings, Material.ROOF, cap=Material.FACADE))
        chimney = (rng.uniform(-0.3, 0.3) * length, depth * 0.4, height + ridge * 0.8)
        parts.append(box(chimney, (0.7, 0.7, 2.2), Material.ROOF))
    else:
        parts.append(
            box((0, depth / 2, height + 0.1), (length + 0.5, depth + 0.5, 0.3), Material.CONCRETE)
        )
    parts.append(
        box((rng.uniform(-0.3, 0.3) * length, -0.02, 1.05), (1.1, 0.12, 2.2), Material.WOOD)
    )
    if rng.random() < 0.5:
        parts.append(box((0, -0.06, 3.1), (length, 0.25, 0.2), Material.CONCRETE))
    if storeys > 2 and rng.random() < 0.5:
        for x in np.arange(-length / 2 + 2.5, length / 2 - 2, 4.8):
            parts.append(box((x, -0.55, 5.6), (2.4, 1.1, 1.05), Material.METAL))
    return merge(parts)


def wall(length: float, height: float, material: int) -> Mesh:
    """Return a wall along x with a coping."""
    coping = box((0, 0, height + 0.03), (length, 0.34, 0.07), Material.CONCRETE)
    return merge([box((0, 0, height / 2 - 0.15), (length, 0.24, height + 0.3), material), coping])


@lru_cache(maxsize=4)
def fence_template(material: int) -> Mesh:
    """Return a piece of fence 2.8 x 1.2 m along x one can see through: two rails and pickets."""
    parts = [box((0, 0, z), (2.8, 0.04, 0.07), material) for z in (0.3, 1.0)]
    parts += [box((x, 0, 0.6), (0.08, 0.03, 1.2), material) for x in np.linspace(-1.26, 1.26, 10)]
    return merge(parts)
