"""What an annotator would write about a key frame: point counts and visibility of every box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kd3d.data.kitti_geometry import points_in_boxes
from kd3d.simulation.surround.rig import MOUNTS, in_world
from kd3d.simulation.surround.world import World
from kd3d.simulation.tracing import Caster

RANGE_M = 80.0
PROBES = 100
VISIBILITY_STEPS = (0.4, 0.6, 0.8)


@dataclass(frozen=True)
class Annotations:
    """The tracks at a key frame.

    Attributes:
        boxes: (N, 7) x, y, z_bottom, length, width, height, yaw, world.
        points: (N,) LiDAR points inside each box; 0 beyond `RANGE_M`.
        visibility: (N,) 1 to 4: below 40, 60, 80 and up to 100 per cent.
    """

    boxes: np.ndarray
    points: np.ndarray
    visibility: np.ndarray


def probes(world: World, rng: np.random.Generator) -> list[np.ndarray]:
    """Draw for each track (PROBES, 3) points on its surface, in its own axes."""
    drawn = []
    for track in world.tracks:
        corners = track.mesh.vertices[track.mesh.faces]
        edges = corners[:, 1:] - corners[:, :1]
        area = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
        face = rng.choice(len(area), PROBES, p=area / area.sum())
        a, b = rng.random((2, PROBES, 1))
        over = a + b > 1
        a, b = np.where(over, 1 - a, a), np.where(over, 1 - b, b)
        drawn.append(corners[face, 0] + a * edges[face, 0] + b * edges[face, 1])
    return drawn


def annotate(
    world: World,
    caster: Caster,
    owners: np.ndarray,
    ego: tuple[np.ndarray, np.ndarray],
    points: np.ndarray,
    surface: list[np.ndarray],
    time_s: float,
) -> Annotations:
    """Count points in boxes and look which share of each surface a camera could see.

    A track's share is that of its probes on the ray to which nothing else stands in the way, seen
    from the camera that looks at it most directly; what it hides of itself counts as seen.

    Args:
        world: The drive's world.
        caster: Of the scene at this instant.
        owners: (F,) owner of each of its faces.
        ego: Pose of the ego frame.
        points: (P, 3) LiDAR points, world.
        surface: `probes`.
        time_s: The instant.
    """
    boxes = world.boxes(time_s)
    near = np.hypot(boxes[:, 0] - ego[1][0], boxes[:, 1] - ego[1][1]) < RANGE_M
    counts = np.zeros(len(boxes), dtype=int)
    counts[near] = [int(mask.sum()) for mask in points_in_boxes(points, boxes[near])]
    share = np.zeros(len(boxes))
    rows = np.flatnonzero(near)
    if len(rows):
        targets = np.stack([_placed(surface[i], boxes[i]) for i in rows])
        origins = _nearest_cameras(boxes[rows], ego)
        share[rows] = _seen(caster, owners, rows, targets, origins)
    levels = np.searchsorted(VISIBILITY_STEPS, share, side="right") + 1
    return Annotations(boxes, counts, levels)


def _placed(points: np.ndarray, box: np.ndarray) -> np.ndarray:
    cos, sin = np.cos(box[6]), np.sin(box[6])
    turn = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    return points @ turn + box[:3]


def _nearest_cameras(boxes: np.ndarray, ego: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return the (N, 3) centre of the camera that looks at each box most directly."""
    poses = [in_world(mount.rotation, np.array(mount.position), ego) for mount in MOUNTS]
    axes = np.stack([rotation[:, 2] for rotation, _ in poses])
    centres = np.stack([centre for _, centre in poses])
    way = boxes[:, None, :3] - centres[None]
    way /= np.linalg.norm(way, axis=2, keepdims=True)
    return centres[np.einsum("nck,ck->nc", way, axes).argmax(axis=1)]


def _seen(
    caster: Caster,
    owners: np.ndarray,
    rows: np.ndarray,
    targets: np.ndarray,
    origins: np.ndarray,
) -> np.ndarray:
    """Return the (N,) share of the (N, PROBES, 3) targets that nothing else hides."""
    start = np.repeat(origins, targets.shape[1], axis=0)
    distance, face = caster.cast(start, targets.reshape(-1, 3) - start)
    own = owners[np.maximum(face, 0)] == np.repeat(rows, targets.shape[1])
    seen = (face < 0) | own | (distance > 1.001)
    return seen.reshape(targets.shape[:2]).mean(axis=1)
