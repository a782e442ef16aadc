"""The KITTI object files: labels, calibrations and point clouds, read strictly and written whole.

Format: A. Geiger, P. Lenz, R. Urtasun, "Are we ready for autonomous driving? The KITTI vision
benchmark suite", CVPR 2012, and the development kit's readme.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from kd3d.errors import UserError
from kd3d.fileio import write_bytes, write_text

CLASSES = ("Car", "Pedestrian", "Cyclist")
KNOWN_TYPES = (
    "Car",
    "Van",
    "Truck",
    "Pedestrian",
    "Person_sitting",
    "Cyclist",
    "Tram",
    "Misc",
    "DontCare",
)
PathLike = str | os.PathLike[str]


@dataclass
class Labels:
    """The rows of one KITTI label or result file, as columns.

    Attributes:
        name: (N,) object array of type names.
        truncated: (N,) float, 0 to 1; -1 where unknown.
        occluded: (N,) int, 0 visible, 1 partly, 2 largely, 3 unknown; -1 for DontCare.
        alpha: (N,) float, observation angle in radians, -pi to pi; -10 where unknown.
        bbox: (N, 4) float, left, top, right, bottom in pixels.
        dimensions: (N, 3) float, **height, width, length** in metres (the file's order).
        location: (N, 3) float, bottom centre x, y, z in metres, rectified camera frame.
        rotation_y: (N,) float, heading about the camera's y axis in radians.
        score: (N,) float, detection score; NaN in label files.
    """

    name: np.ndarray
    truncated: np.ndarray
    occluded: np.ndarray
    alpha: np.ndarray
    bbox: np.ndarray
    dimensions: np.ndarray
    location: np.ndarray
    rotation_y: np.ndarray
    score: np.ndarray

    def __len__(self) -> int:
        return len(self.name)

    def __getitem__(self, index: np.ndarray | slice) -> Labels:
        return Labels(*(getattr(self, f.name)[index] for f in fields(self)))

    @classmethod
    def from_table(cls, name: np.ndarray, table: np.ndarray) -> Labels:
        """Build from the names (N,) and the other 14 or 15 columns (N, 14 or 15)."""
        score = table[:, 14] if table.shape[1] > 14 else np.full(len(table), np.nan)
        return cls(
            np.asarray(name, dtype=object),
            table[:, 0],
            table[:, 1].astype(np.int64),
            table[:, 2],
            table[:, 3:7],
            table[:, 7:10],
            table[:, 10:13],
            table[:, 13],
            score,
        )


@dataclass
class Calibration:
    """Camera and LiDAR geometry of one frame.

    Attributes:
        p2: (3, 4) projection of rectified camera points to pixels of image_2.
        r0: (3, 3) rectifying rotation.
        velo_to_cam: (3, 4) LiDAR to unrectified camera 0.
        matrices: All 3x4 and 3x3 matrices of the file by name.
    """

    p2: np.ndarray
    r0: np.ndarray
    velo_to_cam: np.ndarray
    matrices: dict[str, np.ndarray]

    @property
    def lidar_to_rect(self) -> np.ndarray:
        """(4, 4) LiDAR to rectified camera."""
        rect, velo = np.eye(4), np.eye(4)
        rect[:3, :3], velo[:3] = self.r0, self.velo_to_cam
        return rect @ velo

    @property
    def lidar_to_image(self) -> np.ndarray:
        """(4, 4) LiDAR to homogeneous pixels of image_2 (last row 0 0 0 1)."""
        p2 = np.eye(4)
        p2[:3] = self.p2
        return p2 @ self.lidar_to_rect


def read_labels(path: PathLike, scores: bool | None = None) -> Labels:
    """Read a label or result file; an empty file is a frame without objects.

    Args:
        path: The text file.
        scores: True: 16 columns required; False: 15 or 16 (a score is ignored); None: either.

    Raises:
        UserError: Missing file, wrong number of columns, a value that is no finite number, or an
            unknown type.
    """
    try:
        text = Path(path).read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        raise UserError("file not found", path) from None
    names, rows = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        where = f"{path}:{number}"
        if len(words) not in ((16,) if scores else (15, 16)):
            want = "16 (with score)" if scores else "15 or 16"
            raise UserError(f"{len(words)} columns, a KITTI line has {want}", where)
        if words[0] not in KNOWN_TYPES:
            from kd3d.errors import did_you_mean

            raise UserError(
                f"unknown type {words[0]!r}", where, did_you_mean(words[0], KNOWN_TYPES)
            )
        try:
            row = [float(word) for word in words[1:]]
        except ValueError as error:
            raise UserError(str(error), where) from None
        if not np.isfinite(row).all():
            raise UserError("a value is not finite", where)
        names.append(words[0])
        rows.append(row[:14] + [row[14] if len(row) > 14 else np.nan])
    return Labels.from_table(
        np.array(names, dtype=object), np.array(rows, dtype=np.float64).reshape(-1, 15)
    )


def read_label_dir(
    folder: PathLike, frames: Sequence[str] | None = None, scores: bool | None = None
) -> dict[str, Labels]:
    """Read a folder of label or result files at once, many times faster than one by one.

    Args:
        folder: Holds ``000000.txt`` and so on.
        frames: Names without ``.txt``, each of which must be there; None: every ``*.txt``, sorted.
        scores: As for `read_labels`.

    Returns:
        `Labels` by frame name, in the order of `frames`.

    Raises:
        UserError: No such folder, no files, missing frames, or what `read_labels` refuses.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError("no such folder", folder)
    present = sorted(e.name[:-4] for e in os.scandir(folder) if e.name.endswith(".txt"))
    if frames is None:
        frames = present
        if not frames:
            raise UserError("no .txt files in the folder", folder)
    missing = sorted(set(frames) - set(present))
    if missing:
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise UserError(
            f"{len(missing)} of {len(frames)} frames have no file: {shown}",
            folder,
            "an empty file says that a frame has no objects",
        )
    rows, counts = [], []
    for frame in frames:
        with open(folder / f"{frame}.txt", encoding="ascii", errors="replace") as file:
            found = [row for row in map(str.split, file) if row]
        rows += found
        counts.append(len(found))
    table = _parse_rows(rows, scores)
    if table is None:  # something is wrong: find the file and the line
        return {frame: read_labels(folder / f"{frame}.txt", scores) for frame in frames}
    ends = np.cumsum(counts)
    return {f: table[end - n : end] for f, n, end in zip(frames, counts, ends)}


def _parse_rows(rows: list[list[str]], scores: bool | None) -> Labels | None:
    """Return the labels of split lines, or None when `read_labels` would refuse one of them."""
    widths = np.array([len(row) for row in rows], dtype=np.int64)
    if not np.isin(widths, [16] if scores else [15, 16]).all():
        return None
    names = np.array([row[0] for row in rows], dtype=object)
    if set(names) - set(KNOWN_TYPES):
        return None
    try:
        values = [list(map(float, row[1:])) + [np.nan] * (16 - len(row)) for row in rows]
    except ValueError:
        return None
    table = np.array(values, dtype=np.float64).reshape(-1, 15)
    finite = np.isfinite(table)
    if not finite[:, :14].all() or (finite[:, 14] != (widths == 16)).any():
        return None
    return Labels.from_table(names, table)


def format_labels(labels: Labels) -> str:
    """Return the text of a KITTI file; the score column is written where it is finite."""
    lines = []
    for i in range(len(labels)):
        values = [*labels.bbox[i], *labels.dimensions[i], *labels.location[i], labels.rotation_y[i]]
        line = f"{labels.name[i]} {labels.truncated[i]:.2f} {labels.occluded[i]:d} "
        line += f"{labels.alpha[i]:.2f} "
        line += " ".join(f"{value:.2f}" for value in values)
        if np.isfinite(labels.score[i]):
            line += f" {labels.score[i]:.6f}"
        lines.append(line + "\n")
    return "".join(lines)


def write_labels(path: PathLike, labels: Labels) -> None:
    """Write a KITTI label or result file atomically."""
    write_text(path, format_labels(labels))


def read_calibration(path: PathLike) -> Calibration:
    """Read a calibration file.

    Raises:
        UserError: Missing file, or a missing or malformed P2, R0_rect or Tr_velo_to_cam.
    """
    try:
        text = Path(path).read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        raise UserError("file not found", path) from None
    matrices = {}
    for line in text.splitlines():
        key, _, rest = line.partition(":")
        if not rest.strip():
            continue
        try:
            values = np.array(rest.split(), dtype=np.float64)
        except ValueError:
            raise UserError(f"{key} holds something that is not a number", path) from None
        if values.size not in (9, 12) or not np.isfinite(values).all():
            raise UserError(f"{key} has {values.size} values, wanted 9 or 12 finite ones", path)
        matrices[key] = values.reshape(3, -1)
    shapes = {"P2": (3, 4), "R0_rect": (3, 3), "Tr_velo_to_cam": (3, 4)}
    for key, shape in shapes.items():
        if key not in matrices or matrices[key].shape != shape:
            raise UserError(
                f"no {key} of {shape[0]}x{shape[1]} values",
                path,
                "download data_object_calib.zip again",
            )
    return Calibration(matrices["P2"], matrices["R0_rect"], matrices["Tr_velo_to_cam"], matrices)


def read_points(path: PathLike, columns: int = 4) -> np.ndarray:
    """Read a cloud: (N, columns) float32 x, y, z in metres, reflectance 0 to 1, ..., LiDAR frame.

    Raises:
        UserError: Missing, empty or truncated file, or values that are not finite.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise UserError("file not found", path) from None
    if not data:
        raise UserError("the file is empty", path, "copy it again")
    if len(data) % (4 * columns):
        what = f"{len(data)} bytes is not a multiple of {4 * columns} (truncated?)"
        raise UserError(what, path, "copy it again")
    points = np.frombuffer(data, dtype="<f4").reshape(-1, columns)
    bad = int((~np.isfinite(points).all(axis=1)).sum())
    if bad:
        raise UserError(
            f"{bad} of {len(points)} points are NaN or infinite", path, "remove those points"
        )
    return points


def write_points(path: PathLike, points: np.ndarray) -> None:
    """Write (N, 4) points as little-endian float32, atomically."""
    write_bytes(path, np.ascontiguousarray(points, dtype="<f4").tobytes())
