"""A world with things that stand and things that move, at any instant."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from kd3d.simulation.materials import Palette
from kd3d.simulation.meshes import Mesh
from kd3d.simulation.road import Road
from kd3d.simulation.scene import Scene
from kd3d.simulation.surround.motion import Drive, Motion
from kd3d.simulation.tracing import Caster, Tracer, TwoTracers


@dataclass(frozen=True)
class Track:
    """A labelled thing and where it goes.

    Attributes:
        category: nuScenes category, e.g. "vehicle.car".
        attribute: nuScenes attribute, empty for none.
        mesh: At its real size, centred in x and y, standing on z = 0, heading along x.
        palette: Its colours.
        motion: Its way.
    """

    category: str
    attribute: str
    mesh: Mesh
    palette: Palette
    motion: Motion

    @cached_property
    def size(self) -> np.ndarray:
        """(3,) length, width, height in metres."""
        return self.mesh.bounds[1] - self.mesh.bounds[0]


@dataclass(frozen=True)
class World:
    """A drive's surroundings.

    Attributes:
        road: The ground.
        drive: The sensors' own vehicle.
        tracks: The labelled things, those that stand first.
        still: The scene without the moving ones; its owners are the first rows of `tracks`.
    """

    road: Road
    drive: Drive
    tracks: list[Track]
    still: Scene

    @cached_property
    def _moving(self) -> list[tuple[int, Track]]:
        return [(i, track) for i, track in enumerate(self.tracks) if track.motion.speed != 0]

    @cached_property
    def _still_tracer(self) -> Tracer:
        return Tracer(self.still.vertices, self.still.faces)

    @cached_property
    def _looks(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Faces, rgb, reflectance, material and owner of the whole: the same at every instant."""
        still, count = self.still, len(self.still.vertices)
        faces, rows = (
            [still.faces.astype(np.int64)],
            [np.column_stack([still.rgb, still.reflectance])],
        )
        material, owner = [still.material], [still.owner]
        for index, track in self._moving:
            faces.append(track.mesh.faces + count)
            count += len(track.mesh.vertices)
            rows.append(track.palette.rows[track.mesh.material])
            material.append(track.mesh.material.astype(np.int16))
            owner.append(np.full(len(track.mesh.faces), index, dtype=np.int16))
        joined = np.concatenate(rows)
        return (
            np.concatenate(faces).astype(np.uint32),
            np.ascontiguousarray(joined[:, :3]),
            np.ascontiguousarray(joined[:, 3]),
            np.concatenate(material),
            np.concatenate(owner),
        )

    def at(self, time_s: float) -> tuple[Scene, Caster]:
        """Return the scene at an instant and what casts rays at it."""
        if not self._moving:
            return self.still, self._still_tracer
        faces, rgb, reflectance, material, owner = self._looks
        placed = []
        for _, track in self._moving:
            place, yaw = track.motion.place(self.road, time_s)
            placed.append(track.mesh.moved(place, float(yaw)).vertices)
        moved = np.concatenate(placed).astype(np.float32)
        start, first = len(self.still.faces), len(self.still.vertices)
        own = faces[start:] - np.uint32(first)
        a, b, c = (moved[own[:, k]] for k in range(3))
        normals = np.cross(b - a, c - a)
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
        scene = Scene(
            np.concatenate([self.still.vertices, moved]),
            faces,
            np.concatenate([self.still.normals, normals]),
            rgb,
            reflectance,
            material,
            owner,
            [],
            self.still.light,
        )
        return scene, TwoTracers(self._still_tracer, Tracer(moved, own), start)

    def boxes(self, time_s: float) -> np.ndarray:
        """Return (N, 7) x, y, z_bottom, length, width, height, yaw of all tracks, world."""
        rows = []
        for track in self.tracks:
            place, yaw = track.motion.place(self.road, time_s)
            low = track.mesh.bounds[0]
            turned = np.arctan2(np.sin(yaw), np.cos(yaw))
            rows.append([place[0], place[1], place[2] + low[2], *track.size, turned])
        return np.array(rows, dtype=float).reshape(-1, 7)
