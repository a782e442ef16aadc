"""Turns a nuScenes folder into what mmdet3d trains from: info files, after a check of all files.

Everything is validated before anything is written; the manifest ``OUT/nuscenes_prepare.json`` is
written last of all, so without it there are no whole infos.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kd3d.console import say, track
from kd3d.data.nuscenes_summary import summarise
from kd3d.data.nuscenes_tables import (
    CAMERAS,
    CATEGORIES,
    EVAL_SETS,
    LIDAR,
    TABLES,
    TRAIN_SETS,
    check_files,
    check_links,
    open_tables,
    split_tokens,
    turns_before,
)
from kd3d.data.simulated import is_simulated
from kd3d.errors import UserError
from kd3d.fileio import atomic_path, read_json, write_json

MANIFEST = "nuscenes_prepare.json"
SPLITS = ("train", "val")
SHOWN = 4
_POINT_BYTES = 20
_VERSION = 1  # raise it when the outputs change


@dataclass(frozen=True)
class Prepared:
    """The prepared folder.

    Attributes:
        out: Where the infos lie.
        summary: Counts by split and class, see `kd3d.data.nuscenes_summary.summarise`.
        rebuilt: False when everything was there already.
        pictures: The pictures drawn.
    """

    out: Path
    summary: dict[str, Any]
    rebuilt: bool
    pictures: tuple[Path, ...] = ()


def prepare_nuscenes(
    root: str | os.PathLike[str],
    version: str = "v1.0-mini",
    sweeps: int = 10,
    out: str | os.PathLike[str] | None = None,
    *,
    pictures: bool = True,
) -> Prepared:
    """Validate a nuScenes folder and build mmdet3d 1.4 infos of its train and val splits.

    Args:
        root: Folder with the version's tables, samples/, sweeps/ and maps/.
        version: "v1.0-mini" (mini_train, mini_val) or "v1.0-trainval" (train, val).
        sweeps: LiDAR turns before each key frame to name, at most; 0 or more.
        out: Where ``nuscenes_infos_{train,val}.pkl`` and ``pictures`` go; `root` by default. File
            names in the infos are relative to `root`.
        pictures: Draw three samples.

    Raises:
        UserError: Something is missing or broken; nothing has been written then.
    """
    if sweeps < 0:
        raise UserError(f"{sweeps} sweeps", "--sweeps", "give 0 or more")
    folder = check_files(root, version)
    out = Path(root) if out is None else Path(out)
    inputs = _fingerprint(folder, version, sweeps)
    manifest = _finished(out, inputs)
    infos: dict[str, list[dict[str, Any]]] | None = None
    if manifest is None:
        _refuse_foreign(out)
        check_links(folder)
        nusc = open_tables(root, version)
        samples = _split_samples(nusc, version)
        check_samples(nusc, [s for split in samples.values() for s in split], Path(root), sweeps)
        infos = _build(nusc, samples, sweeps)
        summary = summarise(infos, is_simulated(root), version)
        (out / MANIFEST).unlink(missing_ok=True)
        for split, data in infos.items():
            _dump(
                out / _info_name(split), {"metainfo": _metainfo(data, version), "data_list": data}
            )
        write_json(out / MANIFEST, {"inputs": inputs, "summary": summary})
    else:
        summary = manifest["summary"]
    drawn: tuple[Path, ...] = ()
    if pictures:
        from kd3d.data.nuscenes_pictures import draw_pictures

        infos = infos or {
            split: pickle.loads((out / _info_name(split)).read_bytes())["data_list"]
            for split in SPLITS
        }
        chosen = [infos["train"][0], infos["train"][-1], infos["val"][len(infos["val"]) // 2]]
        drawn = draw_pictures(
            chosen,
            Path(root),
            out / "pictures",
            simulated=summary["simulated"],
            redraw=manifest is None,
        )
    return Prepared(out, summary, manifest is None, drawn)


def check_samples(nusc: Any, samples: list[dict[str, Any]], root: Path, sweeps: int) -> None:
    """Check that every sample has all its sensors, and that the files are there and whole.

    Raises:
        UserError: What is wrong, the first few of it in one line.
    """
    problems: list[str] = []
    for sample in track(samples, "checking samples"):
        lacking = [name for name in (LIDAR, *CAMERAS) if name not in sample["data"]]
        if lacking:
            problems.append(f"sample {sample['token']} has no {', '.join(lacking)}")
            continue
        key = nusc.get("sample_data", sample["data"][LIDAR])
        for turn in (key, *turns_before(nusc, key, sweeps)):
            problems += _cloud_problem(root, turn["filename"])
        for name in CAMERAS:
            problems += _picture_problem(root, nusc.get("sample_data", sample["data"][name]))
    problems = list(dict.fromkeys(problems))  # sweeps are shared
    if problems:
        shown = "; ".join(problems[:SHOWN])
        more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        fix = "unpack the sensor archives of nuscenes.org there, or copy these files again"
        if all(problem.startswith("no file sweeps/") for problem in problems):
            fix = "unpack the sweeps of nuscenes.org there, or go without them: --sweeps 0"
        raise UserError(f"{len(problems)} problems: {shown}{more}", root, fix)


def _cloud_problem(root: Path, name: str) -> list[str]:
    try:
        size = (root / name).stat().st_size
    except OSError:
        return [f"no file {name}"]
    if size == 0 or size % _POINT_BYTES:
        return [f"{name} has {size} bytes, not a multiple of {_POINT_BYTES} (5 floats a point)"]
    return []


def _picture_problem(root: Path, record: dict[str, Any]) -> list[str]:
    from PIL import Image

    name, wanted = record["filename"], (record["width"], record["height"])
    try:
        with Image.open(root / name) as image:
            size = image.size
    except FileNotFoundError:
        return [f"no file {name}"]
    except (OSError, SyntaxError, ValueError):
        return [f"{name} is not an image"]
    if size != wanted:
        return [f"{name} is {size[0]}x{size[1]}, the table says {wanted[0]}x{wanted[1]}"]
    return []


def _split_samples(nusc: Any, version: str) -> dict[str, list[dict[str, Any]]]:
    samples = {}
    for split, name in zip(SPLITS, (TRAIN_SETS[version], EVAL_SETS[version])):
        samples[split] = [nusc.get("sample", token) for token in split_tokens(nusc, name)]
        if not samples[split]:
            where = Path(nusc.dataroot) / version / "scene.json"
            raise UserError(f"no scene of the split {name}", where, "copy the whole tables")
    return samples


def _build(
    nusc: Any, samples: dict[str, list[dict[str, Any]]], sweeps: int
) -> dict[str, list[dict[str, Any]]]:
    from kd3d.data.nuscenes_infos import build_info

    infos = {}
    for split, records in samples.items():
        shown = track(list(enumerate(records)), f"building {split} samples")
        infos[split] = [build_info(nusc, record, index, sweeps) for index, record in shown]
    if sweeps and not any("lidar_sweeps" in info for data in infos.values() for info in data):
        say("note: no LiDAR turns between key frames; detectors will see one turn alone")
    return infos


def _metainfo(data: list[dict[str, Any]], version: str) -> dict[str, Any]:
    categories = {name: label for label, name in enumerate(CATEGORIES)}
    return {
        "categories": categories,
        "dataset": "nuscenes",
        "version": version,
        "info_version": "1.1",
    }


def _info_name(split: str) -> str:
    return f"nuscenes_infos_{split}.pkl"


def _fingerprint(folder: Path, version: str, sweeps: int) -> str:
    """Return a hash of the tables' sizes and times and of the arguments."""
    digest = hashlib.sha256(f"{_VERSION} {version} {sweeps}".encode())
    for name in TABLES:
        stat = (folder / f"{name}.json").stat()
        digest.update(f"{name} {stat.st_size}:{stat.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]


def _finished(out: Path, inputs: str) -> dict[str, Any] | None:
    """Return the manifest if it matches the inputs and the infos are there."""
    if not (out / MANIFEST).is_file():
        return None
    manifest = read_json(out / MANIFEST)
    whole = all((out / _info_name(split)).is_file() for split in SPLITS)
    return manifest if whole and manifest.get("inputs") == inputs else None


def _refuse_foreign(out: Path) -> None:
    """Refuse to replace infos that another program made, or a folder one cannot write to."""
    if not (out / MANIFEST).is_file():
        for split in SPLITS:
            path = out / _info_name(split)
            if path.exists():
                raise UserError(
                    "was not made by kd3d", path, "move it away, or give another folder with --out"
                )
    nearest = next(folder for folder in (out, *out.resolve().parents) if folder.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise UserError("the folder cannot be written to", out, "give another one with --out DIR")


def _dump(path: Path, value: Any) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(pickle.dumps(value))
