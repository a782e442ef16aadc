"""Runs on the KITTI layout; predictions are KITTI text files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kd3d.data.frames import Boxes, KittiFolder
from kd3d.data.kitti_files import read_labels
from kd3d.report.record import RunRecord
from kd3d.report.scenes.scenes import Scenes, predictions


class KittiScenes(Scenes[KittiFolder]):
    """Frames in front of the car, with the picture of the left colour camera."""

    match_m = 1.0

    def evaluated(self, run: RunRecord) -> list[str]:
        """Return the ids that have a file, sorted."""
        return sorted(path.stem for path in predictions(run).glob("*.txt"))

    def found(self, run: RunRecord, frame: str) -> Boxes:
        """Return a run's boxes of the evaluated classes."""
        return self.folder.found(predictions(run) / f"{frame}.txt", frame)

    def image(self, frame: str, boxes: dict[str, np.ndarray], width_px: int) -> np.ndarray | None:
        """Return the picture with boxes."""
        from kd3d.viz.image import draw_image_boxes
        from kd3d.viz.style import pixels

        for one in self.folder.pictures(frame).values():
            figure = draw_image_boxes(
                one.image, boxes, one.lidar_to_image, width_px=width_px, legend=False
            )
            return pixels(figure)
        return None

    def reach(self, furthest_m: np.ndarray) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return a range ahead only: KITTI's labels lie in front."""
        x, y = np.clip(np.ceil((furthest_m + 3.0) / 5.0) * 5.0, [30.0, 15.0], [80.0, 40.0])
        return (0.0, float(x)), (-float(y), float(y))

    def scorer(self, run: RunRecord, frames: list[str]) -> Callable[[np.ndarray], dict[str, Any]]:
        """Return the moderate AP of resampled frames."""
        from kd3d.evaluation.kitti_resample import scorer

        truth = [read_labels(self.folder.file("label_2", frame, "txt")) for frame in frames]
        found = [read_labels(predictions(run) / f"{frame}.txt", scores=True) for frame in frames]
        return scorer(truth, found)
