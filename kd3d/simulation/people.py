"""Parametric pedestrians and cyclists, standing on z = 0 and heading along x."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from kd3d.simulation.materials import Material
from kd3d.simulation.meshes import Mesh, box, ellipsoid, hoop, merge, stack, tube

POSES = 24
RIDERS = 12


@lru_cache(maxsize=POSES)
def pedestrian_template(index: int) -> Mesh:
    """Return one of `POSES` people, 1.75 m tall: walking, standing, with a bag or a skirt.

    The mesh is centred on its box in x and y; its size depends on the pose.
    """
    rng = np.random.default_rng([20111, index])
    stride = rng.uniform(0.30, 0.70) if index % 4 else rng.uniform(0.0, 0.08)
    phase = rng.uniform(0, 2 * np.pi)
    hip_z, lean = 0.91, rng.uniform(0.0, 0.06)
    parts = torso((0, 0, hip_z), (lean, 0, 1.42))
    parts += head((lean + 0.03, 0, 1.63))
    for side in (1, -1):
        swing = stride * np.sin(phase + (0 if side > 0 else np.pi))
        bend = stride * max(0.0, np.cos(phase + (0 if side > 0 else np.pi))) * 1.2
        parts += _leg((0, side * 0.09, hip_z), swing, bend)
        parts += _arm((lean, side * 0.205, 1.40), -1.1 * swing, rng.uniform(0.1, 0.5))
    if rng.random() < 0.3:
        parts.append(box((-0.19, 0, 1.22), (0.16, 0.30, 0.42), Material.PLASTIC))
    elif rng.random() < 0.3:
        parts.append(box((0.0, 0.33, 0.72), (0.32, 0.10, 0.30), Material.PLASTIC))
    if rng.random() < 0.2:
        parts.append(stack([(0, 0, 0.52, 0.22, 0.24), (0, 0, 0.95, 0.12, 0.17)], Material.TROUSERS))
    mesh = merge(parts)
    low, high = mesh.bounds
    return mesh.fitted(*(high - low))


@lru_cache(maxsize=4)
def sitting_template(index: int) -> Mesh:
    """Return a person on a bench-high seat (the seat itself is not part of the mesh)."""
    parts = torso((0, 0, 0.48), (0.04, 0, 0.98)) + head((0.08, 0, 1.19))
    for side in (1, -1):
        knee = np.array([0.42, side * 0.10, 0.50])
        foot = np.array([0.42 - 0.1 * index, side * 0.11, 0.08])
        parts += limb((0, side * 0.1, 0.5), knee, foot, (0.085, 0.065, 0.045), Material.TROUSERS)
        parts.append(box(foot + [0.07, 0, -0.04], (0.26, 0.09, 0.08), Material.SHOE))
        parts += _arm((0.04, side * 0.205, 0.96), 0.5, 0.9)
    mesh = merge(parts)
    low, high = mesh.bounds
    return mesh.fitted(*(high - low))


@lru_cache(maxsize=RIDERS)
def cyclist_template(index: int) -> Mesh:
    """Return one of `RIDERS` bicycles with a rider, about 1.75 x 0.6 x 1.75 m before scaling."""
    rng = np.random.default_rng([20113, index])
    hip = np.array([-0.20, 0, 0.98])
    reach = rng.uniform(0.30, 0.46)
    shoulder = hip + [reach, 0, np.sqrt(0.52**2 - reach**2)]
    parts = [bicycle_template(), *torso(hip, shoulder), *head(shoulder + [0.09, 0, 0.22])]
    if rng.random() < 0.4:
        parts.append(ellipsoid(shoulder + [0.08, 0, 0.29], (0.13, 0.10, 0.08), Material.PLASTIC))
    crank = rng.uniform(0, 2 * np.pi)
    for side in (1, -1):
        turn = crank + (0 if side > 0 else np.pi)
        foot = np.array([0.02 + 0.17 * np.cos(turn), side * 0.11, 0.30 + 0.17 * np.sin(turn)])
        ankle = foot + [-0.04, 0, 0.08]
        start = hip + [0, side * 0.09, 0]
        parts += limb(
            start, knee(start, ankle, 0.44, 0.43), ankle, (0.08, 0.06, 0.045), Material.TROUSERS
        )
        parts.append(box(foot + [0.05, 0, 0.03], (0.26, 0.09, 0.08), Material.SHOE))
        arm = shoulder + [0, side * 0.20, -0.03]
        hand = np.array([0.38, side * 0.26, 1.02])
        elbow = (arm + hand) / 2 + [0, side * 0.05, -0.05]
        parts += limb(arm, elbow, hand, (0.055, 0.045, 0.035), Material.SHIRT, Material.SKIN)
    mesh = merge(parts)
    low, high = mesh.bounds
    return mesh.fitted(*(high - low))


@lru_cache(maxsize=1)
def bicycle_template() -> Mesh:
    """Return a bicycle alone (not labelled, as in KITTI)."""
    rear, front, radius = (-0.52, 0, 0.34), (0.53, 0, 0.34), 0.34
    crank, saddle, head = (0.02, 0, 0.30), (-0.20, 0, 0.92), (0.38, 0, 0.86)
    parts = [hoop(rear, radius, 0.045, Material.TYRE), hoop(front, radius, 0.045, Material.TYRE)]
    for start, end, thick in (
        (rear, crank, 0.016),
        (rear, saddle, 0.012),
        (crank, saddle, 0.018),
        (crank, head, 0.022),
        (saddle, head, 0.020),
        (head, front, 0.018),
        (head, (0.37, 0, 1.02), 0.015),
    ):
        parts.append(tube(start, end, (thick, thick), Material.PAINT, sides=6))
    for centre in (rear, front):
        for k in range(4):
            spoke = 0.31 * np.array([np.cos(k * np.pi / 4), 0, np.sin(k * np.pi / 4)])
            parts.append(
                tube(centre - spoke, centre + spoke, (0.004, 0.004), Material.METAL, sides=3)
            )
    parts.append(
        tube((0.38, -0.29, 1.02), (0.38, 0.29, 1.02), (0.014, 0.014), Material.TRIM, sides=6)
    )
    parts.append(box((-0.21, 0, 0.94), (0.26, 0.14, 0.06), Material.TRIM))
    parts.append(box((-0.55, 0, 0.72), (0.30, 0.12, 0.03), Material.TRIM))
    parts.append(box((-0.86, 0, 0.58), (0.02, 0.06, 0.06), Material.TAIL_LAMP))
    return merge(parts)


def torso(hip: np.ndarray | tuple, shoulder: np.ndarray | tuple) -> list[Mesh]:
    """Trunk from the hips to the neck, sheared along the line between the two points."""
    hip, shoulder = np.asarray(hip, dtype=float), np.asarray(shoulder, dtype=float)
    shape = [
        (-0.08, 0.10, 0.155),
        (0.02, 0.105, 0.165),
        (0.35, 0.095, 0.145),
        (0.75, 0.12, 0.185),
        (0.97, 0.10, 0.20),
        (1.08, 0.05, 0.07),
        (1.22, 0.045, 0.05),
    ]
    levels = []
    for share, depth, wide in shape:
        x, y, z = hip + share * (shoulder - hip)
        levels.append((x, y, z, depth, wide))
    return [
        stack(levels[:3], Material.TROUSERS),
        stack(levels[1:6], Material.SHIRT),
        stack(levels[5:], Material.SKIN),
    ]


def head(centre: np.ndarray | tuple) -> list[Mesh]:
    """Head and hair about a centre (3,)."""
    centre = np.asarray(centre, dtype=float)
    return [
        ellipsoid(centre, (0.095, 0.075, 0.12), Material.SKIN),
        ellipsoid(centre + [-0.02, 0, 0.025], (0.095, 0.082, 0.11), Material.HAIR),
    ]


def limb(start, middle, end, radii, upper: int, lower: int | None = None) -> list[Mesh]:
    """Two tapered bones from start over middle to end; `radii` at the three points."""
    lower = upper if lower is None else lower
    return [
        tube(start, middle, (radii[0], radii[1]), upper),
        tube(middle, end, (radii[1], radii[2]), lower),
    ]


def _leg(hip, swing_rad: float, bend_rad: float) -> list[Mesh]:
    """A leg swung forward by `swing_rad`, its knee bent by `bend_rad`, with a shoe."""
    hip = np.asarray(hip, dtype=float)
    knee = hip + 0.43 * np.array([np.sin(swing_rad), 0, -np.cos(swing_rad)])
    low = swing_rad - bend_rad
    ankle = knee + 0.41 * np.array([np.sin(low), 0, -np.cos(low)])
    parts = limb(hip, knee, ankle, (0.085, 0.062, 0.045), Material.TROUSERS)
    parts.append(box(ankle + [0.065, 0, -0.035], (0.26, 0.09, 0.08), Material.SHOE))
    return parts


def _arm(shoulder, swing_rad: float, bend_rad: float) -> list[Mesh]:
    shoulder = np.asarray(shoulder, dtype=float)
    out = 0.12 * np.sign(shoulder[1])
    elbow = shoulder + 0.29 * np.array([np.sin(swing_rad), out, -np.cos(swing_rad)])
    fore = swing_rad + bend_rad
    hand = elbow + 0.27 * np.array([np.sin(fore), 0, -np.cos(fore)])
    parts = limb(shoulder, elbow, hand, (0.058, 0.045, 0.034), Material.SHIRT)
    parts.append(ellipsoid(hand, (0.05, 0.035, 0.06), Material.SKIN, sides=6, levels=4))
    return parts


def knee(hip: np.ndarray, ankle: np.ndarray, upper_m: float, lower_m: float) -> np.ndarray:
    """Place the knee in front of the line hip-ankle so that both bones keep their lengths."""
    line = ankle - hip
    distance = min(float(np.linalg.norm(line)), upper_m + lower_m - 1e-3)
    axis = line / np.linalg.norm(line)
    along = (upper_m**2 - lower_m**2 + distance**2) / (2 * distance)
    forward = np.array([1.0, 0, 0]) - axis[0] * axis
    forward /= np.linalg.norm(forward)
    return hip + along * axis + np.sqrt(max(upper_m**2 - along**2, 0.0)) * forward
