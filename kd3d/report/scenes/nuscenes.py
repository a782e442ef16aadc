"""Runs on the nuScenes layout; predictions are one file in the submission format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kd3d.data.frames import Boxes, NuScenesFolder
from kd3d.data.nuscenes_tables import CAMERAS
from kd3d.errors import UserError
from kd3d.fileio import read_json
from kd3d.report.record import RunRecord
from kd3d.report.scenes.scenes import Scenes, predictions

RESULT_FILE = "results_nusc.json"


class NuScenesScenes(Scenes[NuScenesFolder]):
    """Samples all around the car, with the pictures of its six cameras."""

    match_m = 2.0

    def __init__(self, folder: NuScenesFolder) -> None:
        super().__init__(folder)
        self._results: dict[str, dict[str, Any]] = {}

    def evaluated(self, run: RunRecord) -> list[str]:
        """Return the split's samples, or none where the run has no result file."""
        return self.folder.names if (predictions(run) / RESULT_FILE).is_file() else []

    def found(self, run: RunRecord, frame: str) -> Boxes:
        """Return a run's boxes, from the global frame into the LiDAR's."""
        rows = self._result(run).get(frame)
        if rows is None:
            raise UserError(f"no sample {frame}", predictions(run) / RESULT_FILE)
        return Boxes(
            np.array([row["detection_name"] for row in rows], dtype=object),
            _lidar_boxes(rows, np.linalg.inv(self.folder.to_global(frame))),
            np.array([row["detection_score"] for row in rows], dtype=float),
        )

    def image(self, frame: str, boxes: dict[str, np.ndarray], width_px: int) -> np.ndarray | None:
        """Return the six pictures with boxes in one, or None where one is missing."""
        from kd3d.viz.surround import draw_surround

        pictures = self.folder.pictures(frame)
        if set(CAMERAS) - set(pictures):
            return None
        images = {camera: one.image for camera, one in pictures.items()}
        matrices = {camera: one.lidar_to_image for camera, one in pictures.items()}
        return draw_surround(images, boxes, matrices, width_px=width_px // 3)

    def turn_rad(self, frame: str) -> float:
        """Return the LiDAR's yaw on the vehicle: its own x points right."""
        return self.folder.mount_yaw(frame)

    def reach(self, furthest_m: np.ndarray) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return a range all around, as far as the score looks."""
        far = float(np.clip(np.ceil((furthest_m.max() + 3.0) / 5.0) * 5.0, 30.0, 50.0))
        return (-far, far), (-far, far)

    def scorer(self, run: RunRecord, frames: list[str]) -> Callable[[np.ndarray], dict[str, Any]]:
        """Return the score of resampled samples."""
        from kd3d.evaluation.nuscenes_resample import scorer
        from kd3d.evaluation.nuscenes_score import devkit_evaluation

        version = self.folder.content["metainfo"]["version"]
        path = predictions(run) / RESULT_FILE
        return scorer(devkit_evaluation(path, self.folder.root, version), frames)

    def called(self, frame: str) -> str:
        """Return the start of the token."""
        return frame[:8]

    def _result(self, run: RunRecord) -> dict[str, Any]:
        if run.name not in self._results:
            self._results[run.name] = read_json(predictions(run) / RESULT_FILE)["results"]
        return self._results[run.name]


def _lidar_boxes(rows: list[dict[str, Any]], to_lidar: np.ndarray) -> np.ndarray:
    """Return (N, 7) LiDAR boxes of rows in the submission format, which are global."""
    from pyquaternion import Quaternion

    boxes = np.zeros((len(rows), 7))
    for box, row in zip(boxes, rows):
        width, length, height = row["size"]
        centre = to_lidar @ [*row["translation"], 1.0]
        ahead = to_lidar[:3, :3] @ Quaternion(row["rotation"]).rotation_matrix[:, 0]
        box[:3] = centre[:3]
        box[2] -= height / 2
        box[3:] = length, width, height, np.arctan2(ahead[1], ahead[0])
    return boxes
