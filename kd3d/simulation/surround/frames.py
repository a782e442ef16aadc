"""One drive sensed: clouds and pictures written, and everything noted for the tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kd3d.fileio import write_bytes, write_json
from kd3d.simulation.camera import photograph, pinhole
from kd3d.simulation.lidar import Sweep, sweep
from kd3d.simulation.surround.annotate import annotate, probes
from kd3d.simulation.surround.compose import compose_drive
from kd3d.simulation.surround.placement import Placement, draw_map
from kd3d.simulation.surround.rig import (
    HDL32,
    INTENSITY,
    LIDAR,
    LIDAR_POSITION,
    LIDAR_ROTATION,
    MOUNTS,
    CameraMount,
    in_world,
)
from kd3d.simulation.surround.world import World

KEY_S, SWEEP_S = 0.5, 0.05
START_US = 1_600_000_000_000_000
APART_US = 1_000_000_000
NOTES = ".scenes"
JPEG_QUALITY = 95


@dataclass(frozen=True)
class DriveJob:
    """One scene to make: everything a worker needs.

    Attributes:
        root: The data set's folder.
        name: nuScenes' name of the scene.
        number: Its number, which with the seed decides everything in it.
        seed: The data set's seed.
        samples: Key frames.
        sweeps: LiDAR turns kept before each key frame but the first, 0 to 9.
        size: Width and height of the pictures.
    """

    root: str
    name: str
    number: int
    seed: int
    samples: int
    sweeps: int
    size: tuple[int, int]

    @property
    def notes(self) -> Path:
        """The file with what the tables need of this scene; written last."""
        return Path(self.root) / NOTES / f"{self.name}.json"

    def generator(self, *key: int) -> np.random.Generator:
        """Return a generator of this scene's own."""
        return np.random.default_rng([self.seed, self.number, *key])


def make_drive(job: DriveJob) -> str:
    """Simulate one scene and write its files; return its name."""
    import cv2

    cv2.setNumThreads(1)
    world = compose_drive(job.generator(0), (job.samples - 1) * KEY_S)
    recorder = _Recorder(job, world)
    for sample in range(job.samples):
        for back in range(job.sweeps if sample else 0, 0, -1):
            recorder.turn(sample, back)
        recorder.key_frame(sample)
    name = f"maps/{job.name}.png"
    draw_map(Path(job.root) / name, world.road, recorder.placement)
    write_json(job.notes, recorder.summary(name))
    return job.name


class _Recorder:
    """Senses a world and keeps what the tables will say."""

    def __init__(self, job: DriveJob, world: World) -> None:
        self.job, self.world = job, world
        rng = job.generator(1)
        self.placement = Placement(float(rng.uniform(-np.pi, np.pi)))
        self._surface = probes(world, rng)
        self._frames: list[dict[str, Any]] = []
        self._annotated: list[dict[str, Any]] = []

    def turn(self, sample: int, back: int) -> tuple[Any, Any, np.ndarray]:
        """Turn the LiDAR once, `back` turns before a key frame.

        Returns:
            Scene, caster and (P, 3) points in the world.
        """
        time_s = sample * KEY_S - back * SWEEP_S
        scene, caster = self.world.at(time_s)
        rotation, origin = in_world(LIDAR_ROTATION, LIDAR_POSITION, self.world.drive.pose(time_s))
        rng = self.job.generator(2, sample, back)
        measured = sweep(caster, scene, (rotation, origin), rng, HDL32)
        path = self._note(LIDAR, sample, time_s, back == 0, ".pcd.bin", 0)
        write_bytes(path, lidar_rows(measured).tobytes())
        return scene, caster, measured.points[:, :3].astype(float) @ rotation.T + origin

    def key_frame(self, sample: int) -> None:
        """Sense with everything and annotate, at the LiDAR's instant."""
        time_s = sample * KEY_S
        scene, caster, points = self.turn(sample, 0)
        ego = self.world.drive.pose(time_s)
        seen = annotate(self.world, caster, scene.owner, ego, points, self._surface, time_s)
        boxes = [self.placement.box(box) for box in seen.boxes]
        self._annotated.append(
            {"boxes": boxes, "points": seen.points.tolist(), "visibility": seen.visibility.tolist()}
        )
        for number, mount in enumerate(MOUNTS):
            self._picture(sample, number, mount)

    def summary(self, map_file: str) -> dict[str, Any]:
        """Return all that the tables need."""
        tracks = [
            {"category": t.category, "attribute": t.attribute, "size": t.size[[1, 0, 2]].tolist()}
            for t in self.world.tracks
        ]
        return {
            "name": self.job.name,
            "map": map_file,
            "start_us": self._start_us,
            "samples": self.job.samples,
            "size": list(self.job.size),
            "tracks": tracks,
            "key_frames": self._annotated,
            "frames": self._frames,
        }

    @property
    def _start_us(self) -> int:
        return START_US + APART_US * self.job.number

    def _picture(self, sample: int, number: int, mount: CameraMount) -> None:
        import cv2

        time_s = sample * KEY_S + mount.offset_us * 1e-6
        scene, caster = self.world.at(time_s)
        rotation, centre = in_world(
            mount.rotation, np.array(mount.position), self.world.drive.pose(time_s)
        )
        camera = pinhole(self.job.size, mount.matrix(self.job.size), rotation, centre)
        view = photograph(caster, scene, self.job.generator(3, sample, number), camera)
        path = self._note(mount.channel, sample, time_s, True, ".jpg", mount.offset_us)
        quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        write_bytes(path, cv2.imencode(".jpg", view.image, quality)[1].tobytes())

    def _note(
        self, channel: str, sample: int, time_s: float, key: bool, suffix: str, offset_us: int
    ) -> Path:
        """Note a file of a sensor and return its path."""
        time_us = self._start_us + round(time_s * 1e6)
        folder = "samples" if key else "sweeps"
        name = f"{folder}/{channel}/sim-{self.job.name}__{channel}__{time_us}{suffix}"
        self._frames.append(
            {
                "channel": channel,
                "sample": sample,
                "timestamp": time_us,
                "key": key,
                "file": name,
                "ego": self.placement.pose(*self.world.drive.pose(time_s)),
            }
        )
        return Path(self.job.root) / name


def lidar_rows(measured: Sweep) -> np.ndarray:
    """Return (P, 5) float32 x, y, z, intensity, ring in the order of nuScenes' files.

    Clockwise seen from above, at each azimuth the lasers from the lowest (ring 0) up.
    """
    ring, step = np.divmod(measured.ray, HDL32.steps)
    order = np.lexsort((ring, -step))
    rows = np.empty((len(order), 5), dtype=np.float32)
    rows[:, :3] = measured.points[order, :3]
    rows[:, 3] = np.round(measured.points[order, 3] * INTENSITY)
    rows[:, 4] = ring[order]
    return rows
