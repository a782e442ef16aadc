"""The evaluated frames: which to show, what each model found in them, and the pictures."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kd3d.data.kitti_files import CLASSES, Calibration, read_calibration, read_labels, read_points
from kd3d.data.kitti_geometry import lidar_boxes
from kd3d.report.record import PREDICTIONS, RunRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MATCH_RADIUS_M = 1.0
SHOWN_FRAMES = 5
GROUND_TRUTH = "ground truth"
RULE = (
    "{even} frames evenly spaced through the {count} evaluated ones{extra}. Boxes with a score of "
    "at least {score:g} are drawn. A label counts as found when such a box of its class has its "
    "centre within {radius:g} m, seen from above."
)
RULE_EXTRA = ", and the one where the labels found by {distilled} and {baseline} differ most"


@dataclass
class Boxes:
    """Boxes of one frame: (N,) class names, (N, 7) LiDAR boxes and (N,) scores (NaN: labels)."""

    name: np.ndarray
    box: np.ndarray
    score: np.ndarray

    def of_score(self, at_least: float) -> Boxes:
        """Return the boxes with a score of at least the given one."""
        keep = self.score >= at_least
        return Boxes(self.name[keep], self.box[keep], self.score[keep])


def data_root(run: RunRecord, override: str | os.PathLike[str] | None = None) -> Path | None:
    """Return the data set's folder, taken as given or beside the run folder, or None."""
    given = Path(override) if override is not None else Path(str(run.data["root"]))
    candidates = [given] + ([run.folder / given] if run.folder else [])
    return next((path for path in candidates if (path / "training").is_dir()), None)


def common_frames(runs: list[RunRecord]) -> list[str]:
    """Return the sorted ids of the frames that every run with predictions has a file for."""
    ids: set[str] | None = None
    for run in runs:
        own = {path.stem for path in prediction_folder(run).glob("*.txt")}
        ids = own if ids is None else ids & own
    return sorted(ids or ())


def prediction_folder(run: RunRecord) -> Path:
    """Return the folder of the run's KITTI text files (it need not exist)."""
    return (run.folder or Path("nowhere")) / PREDICTIONS


def evenly_spaced(ids: list[str], count: int) -> list[str]:
    """Return up to `count` ids, evenly spaced from the first to the last."""
    places = np.unique(np.linspace(0, len(ids) - 1, min(count, len(ids))).round().astype(int))
    return [ids[i] for i in places] if ids else []


def read_calib(root: Path, frame: str) -> Calibration:
    """Read a frame's calibration."""
    return read_calibration(root / "training" / "calib" / f"{frame}.txt")


def read_boxes(path: Path, calibration: Calibration, scores: bool) -> Boxes:
    """Read the boxes of the evaluated classes from a label or result file."""
    labels = read_labels(path, scores=scores)
    labels = labels[np.isin(labels.name.astype(str), CLASSES)]
    return Boxes(labels.name, lidar_boxes(labels, calibration), labels.score)


def read_truth(root: Path, frame: str, calibration: Calibration) -> Boxes:
    """Read a frame's labels of the evaluated classes."""
    return read_boxes(root / "training" / "label_2" / f"{frame}.txt", calibration, scores=False)


def count_found(truth: Boxes, found: Boxes, radius_m: float = MATCH_RADIUS_M) -> int:
    """Return how many labels have a box of their class with its centre near, each used once.

    Boxes are taken by falling score, each takes the nearest free label within `radius_m`.
    """
    free = np.ones(len(truth.box), dtype=bool)
    for i in np.argsort(-found.score, kind="stable"):
        distance = np.hypot(*(truth.box[:, :2] - found.box[i, :2]).T)
        distance[~free | (truth.name != found.name[i])] = np.inf
        if len(distance) and distance.min() <= radius_m:
            free[distance.argmin()] = False
    return int((~free).sum())


def frame_counts(
    root: Path, frame: str, runs: list[RunRecord], score: float
) -> dict[str, int | dict[str, dict[str, int]]]:
    """Return the number of labels, and by run the boxes drawn and the labels found."""
    calibration = read_calib(root, frame)
    truth = read_truth(root, frame, calibration)
    by_run = {}
    for run in runs:
        boxes = read_boxes(prediction_folder(run) / f"{frame}.txt", calibration, True)
        boxes = boxes.of_score(score)
        by_run[run.name] = {"boxes": len(boxes.box), "found": count_found(truth, boxes)}
    return {"labels": len(truth.box), "runs": by_run}


def read_frame_points(root: Path, frame: str) -> np.ndarray:
    """Read a frame's cloud, (N, 4)."""
    return read_points(root / "training" / "velodyne" / f"{frame}.bin")


def draw_frame_bev(
    root: Path,
    frame: str,
    groups: dict[str, RunRecord],
    score: float,
    **options: object,
) -> Figure:
    """Draw a frame from above with its labels and the boxes of the given runs by group."""
    from kd3d.viz.bev import draw_bev

    points = read_frame_points(root, frame)
    boxes, scores = grouped_boxes(root, frame, groups, score)
    return draw_bev(points, boxes, scores=scores, **options)  # type: ignore[arg-type]


def draw_frame_image(
    root: Path, frame: str, groups: dict[str, RunRecord], score: float, width_px: int
) -> Figure | None:
    """Draw the labels and boxes into the camera picture, or return None where there is none."""
    from PIL import Image

    from kd3d.viz.image import draw_image_boxes

    folder = root / "training" / "image_2"
    path = next((p for end in ("png", "jpg") if (p := folder / f"{frame}.{end}").is_file()), None)
    if path is None:
        return None
    with Image.open(path) as picture:
        image = np.asarray(picture.convert("RGB"))
    boxes, _ = grouped_boxes(root, frame, groups, score)
    matrix = read_calib(root, frame).lidar_to_image
    return draw_image_boxes(image, boxes, matrix, width_px=width_px, legend=False)


def grouped_boxes(
    root: Path, frame: str, groups: dict[str, RunRecord], score: float
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return boxes and scores by group: the labels, then the runs' boxes of enough score."""
    calibration = read_calib(root, frame)
    boxes = {GROUND_TRUTH: read_truth(root, frame, calibration).box}
    scores = {}
    for group, run in groups.items():
        found = read_boxes(prediction_folder(run) / f"{frame}.txt", calibration, True)
        found = found.of_score(score)
        boxes[group], scores[group] = found.box, found.score
    return boxes, scores
