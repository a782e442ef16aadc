"""KITTI labels computed from the meshes and from what the camera and the LiDAR saw of them.

Choices, where KITTI's were made by annotators' eyes:

* 2D box: the tight box of the whole mesh's projection, hidden parts included, cut at the image.
* truncation: the share of the uncut 2D box outside the image.
* occlusion: from the share of the object's pixels inside the image that something hides:
  0 below 0.15, 1 below 0.5, 2 below 0.85, else 3.
* an object that is too small or far, nearly hidden, almost outside the image, or has fewer than
  `MIN_POINTS` LiDAR points becomes DontCare; one of which nothing is seen has no row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kd3d.data.kitti_files import Labels
from kd3d.simulation.calibration import HEIGHT, WIDTH, WORLD_FROM_RECT, kitti_camera
from kd3d.simulation.camera import View
from kd3d.simulation.lidar import Sweep
from kd3d.simulation.scene import Actor, Scene
from kd3d.simulation.tracing import Tracer

NEAR_M = 0.2
MIN_POINTS = 3
MIN_HEIGHT_PX, MIN_WIDTH_PX = 12.0, 4.0
MIN_SEEN_SHARE, MIN_SEEN_PX = 0.04, 12
MAX_TRUNCATION = 0.97
MAX_DISTANCE_M = 75.0
OCCLUSION_STEPS = (0.15, 0.5, 0.85)
PROBES = 2500


@dataclass(frozen=True)
class Outline:
    """A mesh's projection.

    Attributes:
        cut: (4,) left, top, right, bottom in pixels, inside the image.
        truncated: Share of the uncut box outside the image.
    """

    cut: np.ndarray
    truncated: float


def outline(mesh_in_rect: np.ndarray, faces: np.ndarray, p2: np.ndarray) -> Outline | None:
    """Project a mesh and return its 2D box, or None when no part is inside the image.

    Args:
        mesh_in_rect: (V, 3) vertices in the rectified camera frame, metres.
        faces: (F, 3) vertex rows.
        p2: (3, 4) projection.
    """
    if mesh_in_rect[:, 2].min() > NEAR_M:
        pixels = _project(mesh_in_rect, p2)
        low, high = pixels.min(axis=0), pixels.max(axis=0)
        if (low >= 0).all() and (high <= (WIDTH - 1, HEIGHT - 1)).all():
            return Outline(np.concatenate([low, high]), 0.0)
    start, end = _front_edges(mesh_in_rect, faces)
    if not len(start):
        return None
    a, b = _project(start, p2), _project(end, p2)
    corners = np.concatenate([a, b])
    low, high = corners.min(axis=0), corners.max(axis=0)
    inside_a, inside_b, hits = _cut_segments(a, b)
    if not hits.any():
        return None
    kept = np.concatenate([inside_a[hits], inside_b[hits]])
    box = np.concatenate([kept.min(axis=0), kept.max(axis=0)])
    clipped = np.clip(np.stack([low, high]), 0, (WIDTH - 1, HEIGHT - 1))
    truncated = 1 - np.prod(clipped[1] - clipped[0]) / max(np.prod(high - low), 1e-9)
    return Outline(box, float(np.clip(truncated, 0, 1)))


def _front_edges(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return start and end (E, 3) of the mesh's edges, cut at the near plane."""
    edges = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    start, end = vertices[edges[:, 0]], vertices[edges[:, 1]]
    front = (start[:, 2] > NEAR_M) | (end[:, 2] > NEAR_M)
    start, end = start[front].copy(), end[front].copy()
    for one, other in ((start, end), (end, start)):
        behind = one[:, 2] < NEAR_M
        share = (NEAR_M - one[behind, 2]) / (other[behind, 2] - one[behind, 2])
        one[behind] += share[:, None] * (other[behind] - one[behind])
    return start, end


def _project(points: np.ndarray, p2: np.ndarray) -> np.ndarray:
    pixels = points @ p2[:, :3].T + p2[:, 3]
    return pixels[:, :2] / pixels[:, 2:]


def _cut_segments(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut 2D segments at the image (Liang and Barsky): new ends, and which have a part inside."""
    way = b - a
    low, high = np.zeros(len(a)), np.ones(len(a))
    possible = np.ones(len(a), dtype=bool)
    for axis, limit in ((0, WIDTH - 1.0), (1, HEIGHT - 1.0)):
        for step, room in ((-way[:, axis], a[:, axis]), (way[:, axis], limit - a[:, axis])):
            flat = np.abs(step) < 1e-12
            possible &= ~(flat & (room < 0))
            ratio = room / np.where(flat, 1.0, step)
            low = np.where(~flat & (step < 0), np.maximum(low, ratio), low)
            high = np.where(~flat & (step > 0), np.minimum(high, ratio), high)
    return a + low[:, None] * way, a + high[:, None] * way, possible & (low <= high)


def hidden_share(actor: Actor, index: int, box: np.ndarray, view: View) -> float:
    """Return the hidden share of an actor's pixels in the image.

    The actor alone is cast through a grid of the pixels in its 2D box, at most about `PROBES`.
    """
    left, top = np.floor(box[:2]).astype(int)
    right, bottom = np.ceil(box[2:]).astype(int)
    step = max(int(np.ceil(np.sqrt((right - left + 1) * (bottom - top + 1) / PROBES))), 1)
    rows, columns = np.arange(top, bottom + 1, step), np.arange(left, right + 1, step)
    rows, columns = rows[rows < HEIGHT], columns[columns < WIDTH]
    camera = kitti_camera()
    pixels = (rows[:, None] * WIDTH + columns[None, :]).reshape(-1)
    alone = Tracer(actor.mesh.vertices, actor.mesh.faces)
    _, face = alone.cast(camera.centre, camera.directions[pixels])
    own = face >= 0
    if not own.any():
        return 1.0
    return float((view.owner.reshape(-1)[pixels[own]] != index).mean())


def label_frame(scene: Scene, view: View, sweep: Sweep, p2: np.ndarray) -> Labels:
    """Return the labels of a frame: objects in the image from near to far, then DontCare."""
    counts = np.bincount(sweep.owner[sweep.owner >= 0], minlength=len(scene.actors))
    seen = np.bincount(view.owner[view.owner >= 0], minlength=len(scene.actors))
    named, ignored = [], []
    for index, actor in enumerate(scene.actors):
        found = (
            outline(actor.mesh.vertices @ WORLD_FROM_RECT, actor.mesh.faces, p2)
            if seen[index]
            else None
        )
        if found is None:
            continue
        hidden = hidden_share(actor, index, found.cut, view)
        width, height = found.cut[2:] - found.cut[:2]
        clear = (
            counts[index] >= MIN_POINTS
            and height >= MIN_HEIGHT_PX
            and width >= MIN_WIDTH_PX
            and found.truncated <= MAX_TRUNCATION
            and np.hypot(*actor.box[:2]) <= MAX_DISTANCE_M
            and seen[index] >= MIN_SEEN_PX
            and 1 - hidden >= MIN_SEEN_SHARE
        )
        if clear:
            named.append((actor.kind, _row(actor, found, hidden)))
        else:
            ignored.append(
                ("DontCare", [-1, -1, -10, *found.cut, -1, -1, -1, -1000, -1000, -1000, -10])
            )
    named.sort(key=lambda item: item[1][12])
    rows = named + ignored
    table = np.array([row for _, row in rows], dtype=np.float64).reshape(-1, 14)
    return Labels.from_table(np.array([name for name, _ in rows], dtype=object), table)


def _row(actor: Actor, found: Outline, hidden: float) -> list[float]:
    """Return truncated, occluded, alpha, bbox, h, w, l, x, y, z, rotation_y."""
    x, y, z = WORLD_FROM_RECT.T @ actor.box[:3]
    length, width, height, yaw = actor.box[3:]
    rotation = _wrap(-yaw - np.pi / 2)
    level = int(np.searchsorted(OCCLUSION_STEPS, hidden, side="right"))
    alpha = _wrap(rotation - np.arctan2(x, z))
    return [found.truncated, level, alpha, *found.cut, height, width, length, x, y, z, rotation]


def _wrap(angle_rad: float) -> float:
    return float(np.arctan2(np.sin(angle_rad), np.cos(angle_rad)))
