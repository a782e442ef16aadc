"""The labelled things of a drive: where they are collected, and how they are tried and sized."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from kd3d.simulation.materials import Palette
from kd3d.simulation.meshes import Mesh
from kd3d.simulation.scene import SceneBuilder
from kd3d.simulation.surround.motion import Motion, Timetable
from kd3d.simulation.surround.world import Track

REACH_M = 85.0
"""Things are placed up to this far along the road from its middle."""
TRIES = 20
CATEGORY = {
    "car": "vehicle.car",
    "truck": "vehicle.truck",
    "trailer": "vehicle.trailer",
    "bus": "vehicle.bus.rigid",
    "construction_vehicle": "vehicle.construction",
    "motorcycle": "vehicle.motorcycle",
    "bicycle": "vehicle.bicycle",
    "adult": "human.pedestrian.adult",
    "child": "human.pedestrian.child",
    "worker": "human.pedestrian.construction_worker",
    "cone": "movable_object.trafficcone",
    "barrier": "movable_object.barrier",
}


@dataclass
class Traffic:
    """Collects the labelled things of a drive.

    Attributes:
        builder: Where standing things go; its footprints are a `Timetable`.
        standing: Tracks without motion, in the order of the builder's actors.
        moving: Tracks with motion.
    """

    builder: SceneBuilder
    standing: list[Track] = field(default_factory=list)
    moving: list[Track] = field(default_factory=list)

    def add(
        self,
        name: str,
        mesh: Mesh,
        palette: Palette,
        motion: Motion,
        attribute: str = "",
        gap: float | None = 0.3,
    ) -> bool:
        """Add a thing where its place or way is free; say whether it was. No gap: do not ask."""
        track = Track(CATEGORY[name], attribute, mesh, palette, motion)
        length, width, _ = track.size
        if motion.speed != 0:
            timetable = self.builder.footprints
            assert isinstance(timetable, Timetable)
            if gap is not None and not timetable.claim_way(motion, length, width, gap):
                return False
            self.moving.append(track)
            return True
        s, d, turn = motion.s, motion.d, motion.turn_rad
        if gap is not None and not self.builder.claim(s, d, turn, length, width, gap):
            return False
        self.builder.add(mesh, s, d, turn, palette, kind=track.category)
        self.standing.append(track)
        return True

    def add_somewhere(
        self,
        name: str,
        mesh: Mesh,
        palette: Palette,
        propose: Callable[[], Motion],
        attribute: str = "",
        gap: float = 0.3,
    ) -> None:
        """Propose motions until one is free, at most `TRIES`."""
        for _ in range(TRIES):
            if self.add(name, mesh, palette, propose(), attribute, gap):
                return


def sized(mesh: Mesh, scale: np.ndarray | float) -> Mesh:
    """Return a mesh scaled by one factor or by (3,) along x, y, z."""
    return mesh.moved(scale=np.broadcast_to(scale, 3))
