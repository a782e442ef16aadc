"""Where the KITTI object files lie, which frames belong to which split, and what is missing.

Layout: ``ROOT/{training,testing}/{velodyne,image_2,calib,label_2}`` and ``ROOT/ImageSets/*.txt``.
Official splits: X. Chen et al., "3D Object Proposals for Accurate Object Class Detection",
NIPS 2015 (3712 train, 3769 val) and the benchmark's 7518 test frames.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import kd3d
from kd3d.data.simulated import is_simulated
from kd3d.errors import UserError

PAGE = "https://www.cvlibs.net/datasets/kitti/eval_object.php?obj_benchmark=3d"
SUFFIXES = {"velodyne": ".bin", "image_2": ".png", "calib": ".txt", "label_2": ".txt"}
DOWNLOADS = {
    "velodyne": "data_object_velodyne.zip (29 GB)",
    "image_2": "data_object_image_2.zip (12 GB)",
    "calib": "data_object_calib.zip (16 MB)",
    "label_2": "data_object_label_2.zip (5 MB)",
}
SPLITS = ("train", "val", "test")
OFFICIAL_FRAMES = {"train": 3712, "val": 3769, "trainval": 7481, "test": 7518}
OFFICIAL_SPLITS_DIR = Path(kd3d.__file__).resolve().parents[1] / "datasets" / "kitti"


@dataclass(frozen=True)
class Frame:
    """One frame: `folder` is ``ROOT/training`` or ``ROOT/testing``, `name` the six digits."""

    folder: Path
    name: str

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of files the frame must have."""
        kinds = tuple(SUFFIXES)
        return kinds if self.folder.name == "training" else kinds[:-1]

    def path(self, kind: str) -> Path:
        """Return the file of one kind, e.g. ``path("velodyne")``."""
        return self.folder / kind / (self.name + SUFFIXES[kind])


@dataclass(frozen=True)
class KittiSource:
    """A KITTI folder and its splits.

    Attributes:
        root: The folder.
        splits: Frames of train, val and test, in the order of the id lists.
        official: Whether the splits are the official ones.
        simulated: Whether `kd3d simulate` made the frames.
        notes: What a person should know, e.g. that there is no test split.
    """

    root: Path
    splits: dict[str, tuple[Frame, ...]]
    official: bool
    simulated: bool
    notes: tuple[str, ...] = ()

    @property
    def frames(self) -> dict[Frame, None]:
        """Every frame once, in order."""
        return dict.fromkeys(frame for frames in self.splits.values() for frame in frames)


def open_source(root: str | os.PathLike[str]) -> KittiSource:
    """Find the folders and read the id lists; no data file is read.

    The lists of ``ROOT/ImageSets`` count; without that folder the official splits are used.

    Raises:
        UserError: The folder or one of its parts is missing, or an id list is malformed.
    """
    root = Path(root)
    _require_folders(root)
    lists, notes = _id_lists(root)
    official = all(lists[s] == read_ids(OFFICIAL_SPLITS_DIR / f"{s}.txt") for s in SPLITS[:2])
    both = set(lists["train"]) & set(lists["val"])
    if both:
        notes.append(f"{len(both)} frames are in train and in val: val scores will flatter")
    folders = {"train": "training", "val": "training", "test": "testing"}
    splits = {s: tuple(Frame(root / folders[s], name) for name in lists[s]) for s in SPLITS}
    simulated = is_simulated(root)
    if simulated:
        notes.append("these frames are simulated")
    return KittiSource(root, splits, official, simulated, tuple(notes))


def read_ids(path: Path) -> list[str]:
    """Read an id list: one whole number a line, returned as six digits.

    Raises:
        UserError: Not a number, or a number twice.
    """
    names = []
    for number, line in enumerate(
        path.read_text(encoding="ascii", errors="replace").split("\n"), 1
    ):
        if not (word := line.strip()):
            continue
        if not word.isdigit() or len(word) > 6:
            raise UserError(
                f"{word!r} is not a frame id", f"{path}:{number}", "one id a line: 000123"
            )
        names.append(f"{int(word):06d}")
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"frame {twice} is listed twice", path)
    return names


def missing_files(source: KittiSource) -> list[UserError]:
    """Return one problem for each kind of file that lacks or empties frames of the splits."""
    problems = []
    for folder in sorted({frame.folder for frame in source.frames}):
        frames = [frame for frame in source.frames if frame.folder == folder]
        for kind in frames[0].kinds:
            sizes = _sizes(folder / kind)
            absent = [f for f in frames if f.path(kind).name not in sizes]
            empty = (
                []
                if kind == "label_2"
                else [f for f in frames if sizes.get(f.path(kind).name) == 0]
            )
            for bad, word in ((absent, "missing"), (empty, "empty")):
                if bad:
                    shown = ", ".join(f.path(kind).name for f in bad[:3]) + ", ..." * (len(bad) > 3)
                    problems.append(
                        UserError(
                            f"{len(bad)} of {len(frames)} listed files are {word} ({shown})",
                            folder / kind,
                            _remedy(source.root, kind),
                        )
                    )
    return problems


def _remedy(root: Path, kind: str) -> str:
    lists = "ImageSets/*.txt may name only the frames you have"
    if not (root / "ImageSets").is_dir():
        lists = "for a part of the data, write ImageSets/{train,val}.txt with the ids you have"
    return f"unpack {DOWNLOADS[kind]} from {PAGE}; {lists}"


def _require_folders(root: Path) -> None:
    if not root.is_dir():
        raise UserError("no such folder", root, "--root is the folder that holds training/")
    if not (root / "training").is_dir():
        near = [
            p.parent for p in sorted(root.glob("*/training")) + sorted(root.glob("*/*/training"))
        ]
        hint = f"did you mean --root {near[0]}?" if near else _download_all(SUFFIXES)
        raise UserError("no training/ in it", root, hint)
    absent = [kind for kind in SUFFIXES if not (root / "training" / kind).is_dir()]
    if absent:
        names = ", ".join(f"training/{kind}" for kind in absent)
        raise UserError(f"{names} missing", root, _download_all(absent))


def _download_all(kinds: list[str] | dict[str, str]) -> str:
    return f"unpack {', '.join(DOWNLOADS[kind] for kind in kinds)} here, from {PAGE}"


def _id_lists(root: Path) -> tuple[dict[str, list[str]], list[str]]:
    notes: list[str] = []
    folder = root / "ImageSets"
    if not folder.is_dir():
        if not (OFFICIAL_SPLITS_DIR / "train.txt").is_file():
            raise UserError("no ImageSets/", root, "write ImageSets/train.txt and val.txt")
        folder = OFFICIAL_SPLITS_DIR
        notes.append("no ImageSets/: the official splits are used")
    for split in ("train", "val"):
        if not (folder / f"{split}.txt").is_file():
            raise UserError("file not found", folder / f"{split}.txt", "one frame id a line")
    test = folder / "test.txt"
    lists = {split: read_ids(folder / f"{split}.txt") for split in ("train", "val")}
    lists["test"] = read_ids(test) if test.is_file() else []
    if not lists["train"]:
        raise UserError("no frame in it", folder / "train.txt", "one frame id a line")
    if lists["test"] and not (root / "testing").is_dir():
        if folder != OFFICIAL_SPLITS_DIR:
            raise UserError(
                f"{test.name} lists {len(lists['test'])} frames but there is no testing/",
                root,
                f"empty {test} or unpack the testing frames",
            )
        notes.append("no testing/: the test split is left out")
        lists["test"] = []
    return lists, notes


def _sizes(folder: Path) -> dict[str, int]:
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        return {entry.name: entry.stat().st_size for entry in entries if not entry.is_dir()}
