"""What a KITTI-layout folder holds, as one Markdown table: to set simulated beside real data."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from kd3d.data.kitti_files import (
    Calibration,
    Labels,
    read_calibration,
    read_labels,
    read_points,
)
from kd3d.data.kitti_geometry import lidar_boxes, png_size, points_in_boxes, points_in_image
from kd3d.errors import UserError

RANGE_EDGES_M = (0, 5, 10, 20, 30, 40, 50, 60, 80, 120)
CAR_EDGES_M = (0, 10, 20, 30, 40, 60, 80)
COUNTED = ("Car", "Van", "Truck", "Pedestrian", "Cyclist", "DontCare")
Table = dict[str, str]


class Collector:
    """Adds frames up; `table` gives the rows."""

    def __init__(self) -> None:
        self.frames = 0
        self.values: dict[str, list[Any]] = defaultdict(list)
        self.ranges = np.zeros(len(RANGE_EDGES_M) - 1)
        self.counts: dict[str, int] = defaultdict(int)

    def add(
        self, points: np.ndarray, labels: Labels, calibration: Calibration, size: tuple[int, int]
    ) -> None:
        """Add one frame: (N, 4) points, its labels, calibration and image (width, height)."""
        self.frames += 1
        seen = points_in_image(points, calibration, *size)
        reach = np.linalg.norm(points[:, :3], axis=1)
        self.values["points"].append(len(points))
        self.values["seen"].append(seen.sum())
        self.values["intensity"].append(float(points[:, 3].mean()))
        self.ranges += np.histogram(reach, RANGE_EDGES_M)[0]
        for name in labels.name:
            self.counts[name] += 1
        self._add_objects(points, labels[labels.name != "DontCare"], calibration)

    def _add_objects(self, points: np.ndarray, labels: Labels, calibration: Calibration) -> None:
        height_px = labels.bbox[:, 3] - labels.bbox[:, 1]
        boxes = lidar_boxes(labels, calibration)
        for i, (box, mask) in enumerate(zip(boxes, points_in_boxes(points, boxes))):
            name = labels.name[i]
            self.values[f"{name} px"].append(height_px[i])
            self.values[f"{name} size"].append(tuple(labels.dimensions[i]))
            inside = int(mask.sum())
            self.values[f"{name} inside"].append(inside)
            if name == "Car":
                distance = np.hypot(box[0], box[1])
                self.values[f"Car in {np.searchsorted(CAR_EDGES_M, distance)}"].append(inside)
                self.values["Car distance"].append(distance)
        self.values["occluded"].extend(labels.occluded)
        self.values["truncated"].extend(labels.truncated)

    def table(self) -> Table:
        """Return the rows as text, by row name."""
        rows: Table = {"frames": str(self.frames)}
        rows["points a frame, mean (min to max)"] = _spread(self.values["points"])
        rows["points a frame inside the image"] = _spread(self.values["seen"])
        rows["mean intensity"] = f"{np.mean(self.values['intensity']):.2f}"
        share = 100 * self.ranges / max(self.ranges.sum(), 1)
        for (low, high), value in zip(pairwise(RANGE_EDGES_M), share):
            rows[f"points at {low} to {high} m, %"] = f"{value:.1f}"
        for name in COUNTED:
            rows[f"{name} a frame"] = f"{self.counts[name] / max(self.frames, 1):.2f}"
        for i, (low, high) in enumerate(pairwise(CAR_EDGES_M), start=1):
            rows[f"points in a Car at {low} to {high} m, median"] = _median(
                self.values[f"Car in {i}"]
            )
        rows["Car distance, median m"] = _median(self.values["Car distance"])
        for name in ("Pedestrian", "Cyclist"):
            rows[f"points in a {name}, median"] = _median(self.values[f"{name} inside"])
        for name in ("Car", "Pedestrian", "Cyclist"):
            rows[f"{name} box height, px, quartiles"] = _quartiles(self.values[f"{name} px"])
            size = np.array(self.values[f"{name} size"]).reshape(-1, 3)
            mean = " x ".join(f"{v:.2f}" for v in size.mean(axis=0)) if len(size) else "-"
            rows[f"{name} h x w x l, mean m"] = mean
        rows["occlusion 0 / 1 / 2 / 3, %"] = _shares(self.values["occluded"])
        truncated = np.array(self.values["truncated"])
        rows["truncation above 0.15, %"] = (
            f"{100 * (truncated > 0.15).mean():.0f}" if len(truncated) else "-"
        )
        return rows


def kitti_statistics(root: str | os.PathLike[str], limit: int | None = None) -> Table:
    """Return the statistics of a KITTI-layout folder's labelled frames that have a full cloud.

    Args:
        root: Folder with training/{velodyne,image_2,calib,label_2}.
        limit: At most this many frames (the first by number).

    Raises:
        UserError: No labels there, or a frame's image or calibration is missing or broken.
    """
    training = Path(root) / "training"
    clouds = {path.stem for path in (training / "velodyne").glob("*.bin")}
    frames = sorted(p.stem for p in (training / "label_2").glob("*.txt") if p.stem in clouds)[
        :limit
    ]
    if not frames:
        fix = "give a folder in the KITTI object layout"
        raise UserError("no frame with training/label_2 and training/velodyne", root, fix)
    collector = Collector()
    for frame in frames:
        image = training / "image_2" / f"{frame}.png"
        if not image.is_file():
            raise UserError("file not found", image)
        collector.add(
            read_points(training / "velodyne" / f"{frame}.bin"),
            read_labels(training / "label_2" / f"{frame}.txt"),
            read_calibration(training / "calib" / f"{frame}.txt"),
            png_size(image),
        )
    return collector.table()


def markdown(tables: dict[str, Table]) -> str:
    """Return one Markdown table with a column for each named table."""
    names = list(tables)
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for row in next(iter(tables.values())):
        lines.append(f"| {row} | " + " | ".join(tables[name][row] for name in names) + " |")
    return "\n".join(lines) + "\n"


def _spread(values: list[float]) -> str:
    return f"{np.mean(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"


def _median(values: list[float]) -> str:
    return f"{np.median(values):.0f} (n={len(values)})" if values else "-"


def _quartiles(values: list[float]) -> str:
    return " / ".join(f"{v:.0f}" for v in np.percentile(values, (25, 50, 75))) if values else "-"


def _shares(levels: Iterable[float]) -> str:
    levels = np.array(list(levels))
    return " / ".join(f"{100 * (levels == k).mean():.0f}" for k in range(4)) if len(levels) else "-"
