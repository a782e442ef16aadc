"""Frames in the KITTI layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kd3d.data.kitti_files import CLASSES, Calibration, read_calibration, read_labels, read_points
from kd3d.data.kitti_geometry import lidar_boxes
from kd3d.report.record import RunRecord
from kd3d.report.scenes.scenes import Boxes, Scenes, predictions

OCCLUSION = {0: "0 visible", 1: "1 partly hidden", 2: "2 largely hidden"}
UNKNOWN = "3 unknown"


class KittiScenes(Scenes):
    """Frames of a folder with ``training/``; predictions are KITTI text files."""

    match_m = 1.0

    @staticmethod
    def is_root(path: Path) -> bool:
        """Return whether there is a folder ``training``."""
        return (path / "training").is_dir()

    def evaluated(self, run: RunRecord) -> list[str]:
        """Return the ids that have a file, sorted."""
        return sorted(path.stem for path in predictions(run).glob("*.txt"))

    def truth(self, frame: str) -> Boxes:
        """Return the labels of the evaluated classes."""
        return self._boxes(self._file("label_2", frame, "txt"), frame, scores=False)

    def found(self, run: RunRecord, frame: str) -> Boxes:
        """Return a run's boxes of the evaluated classes."""
        return self._boxes(predictions(run) / f"{frame}.txt", frame, scores=True)

    def points(self, frame: str) -> np.ndarray:
        """Return the cloud, (N, 4)."""
        return read_points(self._file("velodyne", frame, "bin"))

    def image(self, frame: str, boxes: dict[str, np.ndarray], width_px: int) -> np.ndarray | None:
        """Return the picture of the left colour camera with boxes."""
        from PIL import Image

        from kd3d.viz.image import draw_image_boxes
        from kd3d.viz.style import pixels

        both = (self._file("image_2", frame, end) for end in ("png", "jpg"))
        path = next((path for path in both if path.is_file()), None)
        if path is None:
            return None
        with Image.open(path) as picture:
            image = np.asarray(picture.convert("RGB"))
        matrix = self._calibration(frame).lidar_to_image
        return pixels(draw_image_boxes(image, boxes, matrix, width_px=width_px, legend=False))

    def reach(self, furthest_m: np.ndarray) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return a range ahead only: KITTI's labels lie in front."""
        x, y = np.clip(np.ceil((furthest_m + 3.0) / 5.0) * 5.0, [30.0, 15.0], [80.0, 40.0])
        return (0.0, float(x)), (-float(y), float(y))

    def scorer(self, run: RunRecord, frames: list[str]) -> Callable[[np.ndarray], dict[str, Any]]:
        """Return the moderate AP of resampled frames."""
        from kd3d.evaluation.kitti_resample import scorer

        truth = [read_labels(self._file("label_2", frame, "txt")) for frame in frames]
        found = [read_labels(predictions(run) / f"{frame}.txt", scores=True) for frame in frames]
        return scorer(truth, found)

    def _file(self, folder: str, frame: str, end: str) -> Path:
        return self.root / "training" / folder / f"{frame}.{end}"

    def _calibration(self, frame: str) -> Calibration:
        return read_calibration(self._file("calib", frame, "txt"))

    def _boxes(self, path: Path, frame: str, scores: bool) -> Boxes:
        labels = read_labels(path, scores=scores)
        labels = labels[np.isin(labels.name.astype(str), CLASSES)]
        boxes = lidar_boxes(labels, self._calibration(frame))
        levels = [OCCLUSION.get(int(level), UNKNOWN) for level in labels.occluded]
        seen = {} if scores else {"occlusion": np.array(levels, dtype=object)}
        return Boxes(labels.name, boxes, labels.score, seen)
