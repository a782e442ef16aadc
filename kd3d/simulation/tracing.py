"""Ray casting by open3d, on one thread so that worker processes do not fight."""

from __future__ import annotations

from typing import Protocol

import numpy as np

CHUNK = 32768
"""Rays handed over at once: the buffers stay in the processor's cache."""


class Caster(Protocol):
    """What rays are cast with."""

    def cast(self, origin: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return distance and face of each ray, see `Tracer.cast`."""

    def blocked(self, origins: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """Return which ways are blocked, see `Tracer.blocked`."""


class Tracer:
    """Casts rays at a triangle mesh.

    Args:
        vertices: (V, 3) metres.
        faces: (F, 3) vertex rows.
    """

    def __init__(self, vertices: np.ndarray, faces: np.ndarray) -> None:
        import open3d

        self._tensor = open3d.core.Tensor
        self._scene = open3d.t.geometry.RaycastingScene(nthreads=1)
        self._scene.add_triangles(
            self._tensor(np.ascontiguousarray(vertices, dtype=np.float32)),
            self._tensor(np.ascontiguousarray(faces, dtype=np.uint32)),
        )

    def cast(self, origin: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cast rays.

        Args:
            origin: (3,) common start point, or (N, 3) one a ray.
            directions: (N, 3); distances are in units of their lengths.

        Returns:
            (N,) float32 distance, infinite for a miss, and (N,) int32 face, -1 for a miss (which is
            open3d's invalid id).
        """
        distance = np.empty(len(directions), dtype=np.float32)
        face = np.empty(len(directions), dtype=np.int32)
        rays = np.empty((min(len(directions), CHUNK), 6), dtype=np.float32)
        origin = np.broadcast_to(origin, directions.shape)
        for start in range(0, len(directions), CHUNK):
            part = slice(start, start + CHUNK)
            some = rays[: len(directions[part])]
            some[:, :3], some[:, 3:] = origin[part], directions[part]
            answer = self._scene.cast_rays(self._tensor(some), nthreads=1)
            distance[part] = answer["t_hit"].numpy()
            face[part] = answer["primitive_ids"].numpy().view(np.int32)
        return distance, face

    def blocked(self, origins: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """Return a (N,) bool: something lies that way from each of `origins` (N, 3)."""
        rays = np.empty((len(origins), 6), dtype=np.float32)
        rays[:, :3], rays[:, 3:] = origins, direction
        return self._scene.test_occlusions(self._tensor(rays), nthreads=1).numpy()


class TwoTracers:
    """Casts rays at a mesh that stays and one that moves, as if they were joined.

    Building the moving part alone at every instant takes a fraction of the time of the whole.

    Args:
        still: Of the first `faces` faces.
        moving: Of the faces after them.
        faces: Number of faces of the still mesh.
    """

    def __init__(self, still: Tracer, moving: Tracer, faces: int) -> None:
        self._still, self._moving, self._faces = still, moving, faces

    def cast(self, origin: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the nearer hit of each ray, see `Tracer.cast`."""
        distance, face = self._still.cast(origin, directions)
        other, moved = self._moving.cast(origin, directions)
        nearer = other < distance
        distance[nearer], face[nearer] = other[nearer], moved[nearer] + self._faces
        return distance, face

    def blocked(self, origins: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """Return a (N,) bool: one of them lies that way from each of `origins` (N, 3)."""
        return self._still.blocked(origins, direction) | self._moving.blocked(origins, direction)
