"""Writes simulated drives in the layout of nuScenes: sensor files, maps, 13 tables."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from kd3d.console import say
from kd3d.data.nuscenes_tables import EVAL_SETS, TRAIN_SETS, check_version
from kd3d.errors import UserError
from kd3d.fileio import read_json, write_text
from kd3d.simulation.folder import claim_folder, need
from kd3d.simulation.surround.frames import NOTES, DriveJob, make_drive
from kd3d.simulation.surround.tables import build_tables
from kd3d.workers import processors, run_jobs

VERSION = 1
# nuScenes' mini_train and mini_val; one of each first, so that small sets have both
MINI_SCENES = (
    "scene-0061",
    "scene-0103",
    "scene-0553",
    "scene-0655",
    "scene-0757",
    "scene-0796",
    "scene-0916",
    "scene-1077",
    "scene-1094",
    "scene-1100",
)
PARTS = (*EVAL_SETS, "samples", "sweeps", "maps", NOTES)
DATE = "2020-09-13"


def simulate_nuscenes(
    out: str | os.PathLike[str],
    scenes: int = 10,
    samples: int = 10,
    seed: int = 0,
    sweeps: int = 9,
    image_size: tuple[int, int] = (256, 144),
    workers: int | None = None,
    overwrite: bool = False,
    version: str = "v1.0-mini",
) -> Path:
    """Make a simulated data set in the layout of nuScenes; keep scenes that exist.

    The same arguments give the same bytes for a scene, whatever the number of scenes or workers.
    The scenes bear official names, so the official splits hold: of v1.0-mini the second and the
    seventh are for validation (mini_val), of v1.0-trainval every fourth from the second (val).
    Workers are fresh processes, so a script that calls this needs `if __name__ == "__main__":`.

    Args:
        out: The folder to make; new, empty, or one this function made.
        scenes: 2 to 10, of v1.0-trainval 2 to 600. Objects and streets differ between scenes, not
            within one.
        samples: Key frames a scene, half a second apart, 2 to 40.
        seed: 0 or more.
        sweeps: LiDAR turns kept before each key frame, 0 to 9 (all of 20 a second).
        image_size: Width and height of the pictures in pixels, 32 to 4096.
        workers: Processes; None for one a core.
        overwrite: Remove a data set made with other arguments that lies in `out` first.
        version: "v1.0-mini" or "v1.0-trainval".

    Returns:
        The folder.

    Raises:
        UserError: A bad argument, or `out` holds something else.
    """
    workers = processors() if workers is None else workers
    names = scene_names(check_version(version))
    if not 2 <= scenes <= len(names):
        fix = f"give 2 to {len(names)}: {version} has that many, and a split needs one"
        raise UserError(f"{scenes} scenes", "--scenes", fix)
    _check(samples, seed, sweeps, image_size, workers)
    root = Path(out)
    manifest = {
        "simulated": True,
        "by": "kd3d simulate nuscenes",
        "version": VERSION,
        "seed": seed,
        "samples": samples,
        "sweeps": sweeps,
        "image_size": list(image_size),
        "nuscenes_version": version,
    }
    keys = ("version", "seed", "samples", "sweeps", "image_size", "nuscenes_version")
    claim_folder(root, manifest, keys, PARTS, overwrite)
    jobs = [
        DriveJob(str(root), names[number], number, seed, samples, sweeps, image_size)
        for number in range(scenes)
    ]
    todo = [job for job in jobs if not job.notes.is_file()]
    if len(todo) < len(jobs):
        say(f"{root}: {len(jobs) - len(todo)} of {len(jobs)} simulated scenes are there already")
    _clear_leftovers(root)
    run_jobs(make_drive, todo, min(workers, len(todo)), "simulated scenes")
    found = [read_json(root / NOTES / f"{name}.json") for name in _made(root, names)]
    for name, rows in build_tables(found, seed, DATE).items():
        _write_table(root / version / f"{name}.json", rows)
    return root


def scene_names(version: str) -> tuple[str, ...]:
    """Return the official names that simulated scenes of a version bear, in their order."""
    if version == "v1.0-mini":
        return MINI_SCENES
    from nuscenes.utils.splits import create_splits_scenes

    splits = create_splits_scenes()
    train = iter(splits[TRAIN_SETS[version]])
    return tuple(
        name
        for validation in splits[EVAL_SETS[version]]
        for name in (next(train), validation, next(train), next(train))
    )


def _made(root: Path, names: tuple[str, ...]) -> list[str]:
    """Return the names of the scenes that are there, in the order of `names`."""
    return [name for name in names if (root / NOTES / f"{name}.json").is_file()]


def _write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    write_text(path, "[\n" + ",\n".join(json.dumps(row, allow_nan=False) for row in rows) + "\n]\n")


def _clear_leftovers(root: Path) -> None:
    """Remove temporary files of a run that was killed."""
    for part in PARTS:
        for path in [*(root / part).glob(".*"), *(root / part).glob("*/.*")]:
            path.unlink(missing_ok=True)


def _check(samples: int, seed: int, sweeps: int, size: tuple[int, int], workers: int) -> None:
    if not 2 <= samples <= 40:
        raise UserError(f"{samples} samples", "--samples", "give 2 to 40")
    if seed < 0:
        raise UserError(f"seed {seed} is negative", "--seed", "give 0 or more")
    if not 0 <= sweeps <= 9:
        raise UserError(f"{sweeps} sweeps", "--sweeps", "give 0 to 9 before each key frame")
    if not all(32 <= side <= 4096 for side in size):
        raise UserError(f"{size[0]}x{size[1]} pixels", "--image-size", "give 32 to 4096 a side")
    if workers < 1:
        raise UserError(f"{workers} workers", "--workers", "give 1 or more")
    need("open3d", "cv2", "pyquaternion")
