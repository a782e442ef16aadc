"""Turns a KITTI folder into what mmdet3d trains from: infos, reduced clouds, object database.

Everything is validated before anything is written. Frames are built in chunks whose results wait
in ``OUT/.kitti_prepare``, so an interrupted run continues; the infos are written at the end and
the manifest ``OUT/kitti_prepare.json`` last of all. Without a manifest there are no infos.
"""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
import pickletools
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kd3d.console import say, track
from kd3d.data.kitti_files import write_points
from kd3d.data.kitti_infos import CATEGORIES, BuiltFrame, build_frame, check_frame
from kd3d.data.kitti_layout import (
    OFFICIAL_SPLITS_DIR,
    SPLITS,
    Frame,
    KittiSource,
    missing_files,
    open_source,
)
from kd3d.data.kitti_summary import summarise
from kd3d.errors import UserError
from kd3d.fileio import atomic_path, read_json, write_json, write_text

MANIFEST = "kitti_prepare.json"
_VERSION = 1  # raise it when the outputs change
_CHUNK = 64
_STAGING = ".kitti_prepare"
_DATABASE = "kitti_gt_database"
_DB_INFOS = "kitti_dbinfos_train.pkl"


@dataclass(frozen=True)
class Prepared:
    """The prepared folder.

    Attributes:
        out: The folder to give mmdet3d as `data_root`.
        summary: Counts by split and class, see `kd3d.data.kitti_summary.summarise`.
        rebuilt: False when everything was there already.
        pictures: The pictures drawn.
    """

    out: Path
    summary: dict[str, Any]
    rebuilt: bool
    pictures: tuple[Path, ...] = ()


def prepare_kitti(
    root: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    pictures: bool = True,
    workers: int | None = None,
) -> Prepared:
    """Validate a KITTI folder and build mmdet3d 1.4 infos, reduced clouds and object database.

    Args:
        root: Folder with training/, testing/ and ImageSets/ (the official splits without it).
        out: Where to write; `root` by default. Another folder gets links to the source's files
            and serves as `data_root`, so a read-only source works.
        pictures: Draw three frames into ``OUT/pictures``.
        workers: Threads; the number of processors by default.

    Raises:
        UserError: Something is missing or broken; nothing has been written then.
    """
    source = open_source(root)
    out = Path(out) if out is not None else source.root
    for note in source.notes:
        say(f"note: {note}")
    _refuse_missing(source)
    inputs = _fingerprint(source)
    manifest = _finished(out, inputs)
    if manifest is None:
        _refuse_foreign(out)
        pool = ThreadPoolExecutor(workers or os.cpu_count() or 1)
        with pool:
            try:
                _check_contents(source, pool, out / _STAGING / f"checked-{inputs}")
                summary = _build(source, out, pool)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        written = [_DATABASE, *sorted({f"{f.folder.name}/velodyne_reduced" for f in source.frames})]
        counts = {folder: len(os.listdir(out / folder)) for folder in written}
        write_json(out / MANIFEST, {"inputs": inputs, "folders": counts, "summary": summary})
        shutil.rmtree(out / _STAGING)
    else:
        summary = manifest["summary"]
    drawn: tuple[Path, ...] = ()
    if pictures:
        from kd3d.data.kitti_pictures import draw_pictures

        drawn = draw_pictures(source, out / "pictures", redraw=manifest is None)
    return Prepared(out, summary, manifest is None, drawn)


def info_format(path: str | os.PathLike[str]) -> str:
    """Tell an info file of mmdet3d >= 1.1 (``"v2"``) from an older one (``"v1"``) unopened.

    The newer holds a dict, the older a list: the first opcode of the pickle shows it.

    Raises:
        UserError: Not a pickle of either kind.
    """
    try:
        with open(path, "rb") as file:
            for opcode, _, _ in pickletools.genops(file):
                if opcode.name not in ("PROTO", "FRAME", "MARK"):
                    return {"EMPTY_LIST": "v1", "LIST": "v1", "EMPTY_DICT": "v2"}[opcode.name]
    except FileNotFoundError:
        raise UserError("file not found", path, "kd3d prepare kitti --root DIR") from None
    except (KeyError, ValueError):
        pass
    raise UserError("not an info file of mmdet3d", path, "kd3d prepare kitti --root DIR")


def _refuse_missing(source: KittiSource) -> None:
    problems = missing_files(source)
    if problems:
        _raise(problems, source.root)


def _raise(problems: list[UserError], root: Path) -> None:
    if len(problems) == 1:
        raise problems[0]
    shown = "; ".join(str(problem) for problem in problems[:4])
    more = f"; and {len(problems) - 4} more" if len(problems) > 4 else ""
    raise UserError(f"{len(problems)} problems: {shown}{more}", root)


def _fingerprint(source: KittiSource) -> str:
    """Return a hash of the split lists and of every input file's size and time."""
    digest = hashlib.sha256(f"{_VERSION}".encode())
    for split, frames in source.splits.items():
        digest.update(f"{split} {len(frames)} {_frames_key(frames)}\n".encode())
    return digest.hexdigest()[:16]


def _frames_key(frames: tuple[Frame, ...]) -> str:
    digest = hashlib.sha256(f"{_VERSION}".encode())
    for frame in frames:
        stats = [frame.path(kind).stat() for kind in frame.kinds]
        digest.update(f"{frame.folder.resolve()} {frame.name} ".encode())
        digest.update(" ".join(f"{s.st_size}:{s.st_mtime_ns}" for s in stats).encode())
    return digest.hexdigest()[:16]


def _finished(out: Path, inputs: str) -> dict[str, Any] | None:
    """Return the manifest if it matches the inputs and its files are there."""
    if not (out / MANIFEST).is_file():
        return None
    manifest = read_json(out / MANIFEST)
    files = [f"kitti_infos_{split}.pkl" for split in (*SPLITS, "trainval")] + [_DB_INFOS]
    whole = all((out / name).is_file() for name in files)
    for folder, count in manifest.get("folders", {}).items():
        whole = whole and (out / folder).is_dir() and len(os.listdir(out / folder)) >= count
    return manifest if whole and manifest.get("inputs") == inputs else None


def _refuse_foreign(out: Path) -> None:
    """Refuse to replace infos in the format of mmdet3d < 1.1, which other programs may need."""
    for split in (*SPLITS, "trainval"):
        path = out / f"kitti_infos_{split}.pkl"
        if path.exists() and info_format(path) == "v1":
            raise UserError(
                "made by mmdet3d < 1.1 (a list); mmdet3d 1.4 cannot read it",
                path,
                "move the old kitti_infos_*.pkl away, or give another folder with --out",
            )
    nearest = next(folder for folder in (out, *out.resolve().parents) if folder.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise UserError("the folder cannot be written to", out, "give another one with --out DIR")


def _check_contents(source: KittiSource, pool: ThreadPoolExecutor, done: Path) -> None:
    if done.exists():
        return
    frames = list(source.frames)
    found = track(pool.map(check_frame, frames), "checking frames", total=len(frames))
    problems = [problem for problems in found for problem in problems]
    if problems:
        _raise(problems, source.root)
    write_text(done, "")


def _build(source: KittiSource, out: Path, pool: ThreadPoolExecutor) -> dict[str, Any]:
    for name in [MANIFEST, _DB_INFOS, *(f"kitti_infos_{s}.pkl" for s in (*SPLITS, "trainval"))]:
        (out / name).unlink(missing_ok=True)
    _link_source(source, out)
    chunks = [
        (split, frames[i : i + _CHUNK])
        for split, frames in source.splits.items()
        for i in range(0, len(frames), _CHUNK)
    ]
    total = sum(len(frames) for _, frames in chunks)
    parts: dict[str, list[Any]] = {split: [] for split in SPLITS}
    for split, part in track(_built(chunks, out, pool), "building frames", total=total):
        parts[split].append(part)
    infos = {split: [info for info, _ in parts[split]] for split in SPLITS}
    database = _database([entries for _, entries in parts["train"]])
    _remove_stale(out / _DATABASE, {Path(e["path"]).name for es in database.values() for e in es})
    _dump(out / _DB_INFOS, database)
    for split, data in {**infos, "trainval": infos["train"] + infos["val"]}.items():
        _dump(out / f"kitti_infos_{split}.pkl", {"metainfo": _metainfo(data), "data_list": data})
    return summarise(source, infos, database)


def _built(
    chunks: list[tuple[str, tuple[Frame, ...]]], out: Path, pool: ThreadPoolExecutor
) -> Iterator[tuple[str, tuple[dict[str, Any], list[dict[str, Any]]]]]:
    """Yield split and (info, database entries) for each frame; whole chunks are kept on disk."""
    for split, frames in chunks:
        path = out / _STAGING / f"{split}-{_frames_key(frames)}.pkl"
        if path.exists():
            part = pickle.loads(path.read_bytes())
        else:
            part = list(pool.map(functools.partial(_write_frame, split=split, out=out), frames))
            _dump(path, part)
        for item in part:
            yield split, item


def _write_frame(
    frame: Frame, split: str, out: Path
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    built: BuiltFrame = build_frame(frame)
    write_points(out / frame.folder.name / "velodyne_reduced" / f"{frame.name}.bin", built.reduced)
    if split == "train":
        for entry, points in zip(built.objects, built.object_points):
            name = f"{entry['image_idx']}_{entry['name']}_{entry['gt_idx']}.bin"
            write_points(out / _DATABASE / name, points)
            entry["path"] = f"{_DATABASE}/{name}"
        return built.info, built.objects
    return built.info, []


def _database(frames: list[list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    database: dict[str, list[dict[str, Any]]] = {}
    for group, entry in enumerate(entry for entries in frames for entry in entries):
        database.setdefault(entry["name"], []).append({**entry, "group_id": group})
    return database


def _metainfo(data: list[dict[str, Any]]) -> dict[str, Any]:
    categories = {name: label for label, name in enumerate(CATEGORIES)}
    if any(i["bbox_label"] == -1 for info in data for i in info["instances"]):
        categories["DontCare"] = -1
    return {"categories": categories, "dataset": "kitti", "info_version": "1.1"}


def _link_source(source: KittiSource, out: Path) -> None:
    if not (out / "ImageSets").exists():
        lists = source.root / "ImageSets"
        lists = lists if lists.is_dir() else OFFICIAL_SPLITS_DIR
        for path in sorted(lists.glob("*.txt")):
            write_text(out / "ImageSets" / path.name, path.read_text())
    (out / _DATABASE).mkdir(exist_ok=True)
    if out.resolve() == source.root.resolve():
        return
    for folder in sorted({frame.folder for frame in source.frames}):
        kinds = next(frame for frame in source.frames if frame.folder == folder).kinds
        for kind in kinds:
            link, target = out / folder.name / kind, (folder / kind).resolve()
            link.parent.mkdir(exist_ok=True)
            if link.is_symlink():
                link.unlink()
            elif link.exists():
                raise UserError("in the way of a link to the source", link, "give an empty --out")
            link.symlink_to(target)


def _remove_stale(folder: Path, wanted: set[str]) -> None:
    for path in folder.glob("[0-9]*_*_[0-9]*.bin"):
        if path.name not in wanted:
            path.unlink()


def _dump(path: Path, value: Any) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(pickle.dumps(value))
