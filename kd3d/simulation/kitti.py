"""Writes simulated frames in the layout of the KITTI object data set."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kd3d.console import say
from kd3d.data.kitti_files import write_labels, write_points
from kd3d.errors import UserError
from kd3d.fileio import write_bytes, write_text
from kd3d.simulation.calibration import (
    LIDAR_HEIGHT_M,
    calibration_text,
    kitti_camera,
    lidar_pose,
    rig,
)
from kd3d.simulation.folder import claim_folder, need
from kd3d.simulation.spec import ScenarioSpec, load_spec
from kd3d.workers import processors, run_jobs

if TYPE_CHECKING:
    from kd3d.simulation.lidar import Sweep
    from kd3d.simulation.scene import Scene
    from kd3d.simulation.tracing import Tracer

VERSION = 1
PARTS = ("training", "testing")
FOLDERS = {"velodyne": ".bin", "image_2": ".png", "calib": ".txt", "label_2": ".txt"}
PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class FrameJob:
    """One frame to make: everything a worker needs.

    Attributes:
        root: The data set's folder.
        part: "training" or "testing".
        number: The frame's number.
        seed: The data set's seed.
        spec: The scenario.
    """

    root: str
    part: str
    number: int
    seed: int
    spec: ScenarioSpec

    def files(self) -> dict[str, Path]:
        """Return the frame's files by folder name."""
        base = Path(self.root) / self.part
        return {
            folder: base / folder / f"{self.number:06d}{suffix}"
            for folder, suffix in FOLDERS.items()
            if folder != "label_2" or self.part == "training"
        }

    def is_done(self) -> bool:
        """Whether all of its files are there (each is written whole or not at all)."""
        return all(path.is_file() for path in self.files().values())


def simulate_kitti(
    out: PathLike,
    frames: int,
    seed: int = 0,
    spec: str | os.PathLike[str] | ScenarioSpec = "street",
    test_frames: int = 0,
    val_share: float = 0.4,
    workers: int | None = None,
    overwrite: bool = False,
) -> Path:
    """Make a simulated data set in KITTI's object layout; frames that are there are kept.

    The same seed and spec give the same bytes for frame n, whatever the number of frames or
    workers. The first frames are the training split, the rest validation. Workers are fresh
    processes, so a script that calls this needs `if __name__ == "__main__":`.

    Args:
        out: The folder to make; new, empty, or one this function made.
        frames: Labelled frames, 1 to 999,999.
        seed: 0 or more.
        spec: A scenario: shipped name, YAML file, or object.
        test_frames: Frames under testing/, without labels.
        val_share: Share of the labelled frames in the validation split, 0 to below 1.
        workers: Processes; None for one a core.
        overwrite: Remove a data set of another seed, spec or version that lies in `out` first.

    Returns:
        The folder.

    Raises:
        UserError: A bad argument, or `out` holds something else.
    """
    spec = spec if isinstance(spec, ScenarioSpec) else load_spec(spec)
    workers = processors() if workers is None else workers
    _check(frames, seed, test_frames, val_share, workers)
    root = Path(out)
    keys = ("version", "seed", "spec_sha256")
    claim_folder(root, _manifest(seed, spec), keys, (*PARTS, "ImageSets"), overwrite)
    counts = {"training": frames, "testing": test_frames}
    jobs = [FrameJob(str(root), part, n, seed, spec) for part in PARTS for n in range(counts[part])]
    _clear_leftovers(root)
    todo = [job for job in jobs if not job.is_done()]
    if len(todo) < len(jobs):
        say(f"{root}: {len(jobs) - len(todo)} of {len(jobs)} simulated frames are there already")
    run_jobs(make_frame, todo, min(workers, len(todo)), "simulated frames", chunk=2)
    _write_splits(root, frames, test_frames, val_share)
    return root


def make_frame(job: FrameJob) -> int:
    """Simulate one frame and write its files; return its number."""
    import cv2

    from kd3d.simulation.camera import photograph
    from kd3d.simulation.labels import label_frame

    cv2.setNumThreads(1)
    huffman = [
        cv2.IMWRITE_PNG_COMPRESSION,
        1,
        cv2.IMWRITE_PNG_STRATEGY,
        cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY,
    ]
    calibration = rig()
    rng = np.random.default_rng([job.seed, PARTS.index(job.part), job.number])
    scene, tracer, turn = _scan(rng, job.spec, lidar_pose(calibration))
    view = photograph(tracer, scene, rng, kitti_camera())
    png = cv2.imencode(".png", view.image, huffman)[1].tobytes()
    files = job.files()
    write_points(files["velodyne"], turn.points)
    write_bytes(files["image_2"], png)
    write_text(files["calib"], calibration_text(calibration))
    if "label_2" in files:
        write_labels(files["label_2"], label_frame(scene, view, turn, calibration.p2))
    return job.number


def simulated_points(seed: int = 0, spec: str = "street") -> np.ndarray:
    """Return (N, 4) x, y, z in metres and intensity: the first frame of `simulate_kitti`.

    The whole turn, not only what the camera sees.
    """
    need("open3d")
    rng = np.random.default_rng([seed, 0, 0])
    return _scan(rng, load_spec(spec), lidar_pose(rig()))[2].points


def _scan(
    rng: np.random.Generator, spec: ScenarioSpec, pose: tuple[np.ndarray, np.ndarray]
) -> tuple[Scene, Tracer, Sweep]:
    """Make a scene and turn the LiDAR in it once."""
    from kd3d.simulation.lidar import HDL64, sweep
    from kd3d.simulation.surroundings import compose
    from kd3d.simulation.tracing import Tracer

    scene = compose(rng, spec, ground_z=pose[1][2] - LIDAR_HEIGHT_M)
    tracer = Tracer(scene.vertices, scene.faces)
    return scene, tracer, sweep(tracer, scene, pose, rng, HDL64)


def _check(frames: int, seed: int, test_frames: int, val_share: float, workers: int) -> None:
    if not 1 <= frames <= 999_999:
        raise UserError(f"{frames} frames", "--frames", "give 1 to 999999")
    if seed < 0:
        raise UserError(f"seed {seed} is negative", "--seed", "give 0 or more")
    if not 0 <= test_frames <= 999_999:
        raise UserError(f"{test_frames} frames", "--test-frames", "give 0 to 999999")
    if not 0 <= val_share < 1:
        raise UserError(f"share {val_share}", "--val-share", "give 0 up to below 1")
    if workers < 1:
        raise UserError(f"{workers} workers", "--workers", "give 1 or more")
    need("open3d", "cv2")


def _manifest(seed: int, spec: ScenarioSpec) -> dict[str, Any]:
    values = dataclasses.asdict(spec)
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    return {
        "simulated": True,
        "by": "kd3d simulate kitti",
        "version": VERSION,
        "seed": seed,
        "spec_sha256": digest,
        "spec": values,
    }


def _clear_leftovers(root: Path) -> None:
    """Remove temporary files of a run that was killed."""
    for part in PARTS:
        for folder in FOLDERS:
            for path in (root / part / folder).glob(".*"):
                path.unlink(missing_ok=True)


def _write_splits(root: Path, frames: int, test_frames: int, val_share: float) -> None:
    for folder in ("velodyne", "image_2", "calib"):
        (root / "testing" / folder).mkdir(parents=True, exist_ok=True)
    start = frames - round(frames * val_share)
    splits = {
        "train": range(start),
        "val": range(start, frames),
        "trainval": range(frames),
        "test": range(test_frames),
    }
    for name, numbers in splits.items():
        write_text(root / "ImageSets" / f"{name}.txt", "".join(f"{n:06d}\n" for n in numbers))
