"""Key frames in the nuScenes layout, prepared by `kd3d prepare nuscenes`."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from kd3d.data.nuscenes_pictures import (
    info_boxes,
    lidar_to_image,
    load_points,
    load_surround,
    mount_yaw,
)
from kd3d.data.nuscenes_tables import CATEGORIES
from kd3d.errors import UserError
from kd3d.fileio import read_json
from kd3d.report.record import RunRecord
from kd3d.report.scenes.scenes import Boxes, Scenes, predictions

RESULT_FILE = "results_nusc.json"
POINTS = ("0 points", "1 to 5 points", "6 to 20 points", "21 points and more")
POINT_EDGES = (1, 6, 21)


class NuScenesScenes(Scenes):
    """Samples of an info file; predictions are one file in the submission format."""

    match_m = 2.0

    def __init__(self, root: Path, split: str) -> None:
        super().__init__(root, split)
        self._results: dict[str, dict[str, Any]] = {}

    @staticmethod
    def is_root(path: Path) -> bool:
        """Return whether there are key frames and info files."""
        return (path / "samples").is_dir() and any(path.glob("nuscenes_infos_*.pkl"))

    @cached_property
    def infos(self) -> dict[str, dict[str, Any]]:
        """The split's samples by token, in order of time."""
        if not self._info_file.is_file():
            raise UserError("no such info file", self._info_file, "run kd3d prepare nuscenes")
        data = pickle.loads(self._info_file.read_bytes())["data_list"]
        return {info["token"]: info for info in data}

    @property
    def _info_file(self) -> Path:
        return self.root / f"nuscenes_infos_{self.split}.pkl"

    def evaluated(self, run: RunRecord) -> list[str]:
        """Return the split's samples, or none where the run has no result file."""
        return list(self.infos) if (predictions(run) / RESULT_FILE).is_file() else []

    def truth(self, frame: str) -> Boxes:
        """Return the boxes of the ten classes."""
        info = self.infos[frame]
        labels = [one for one in info["instances"] if one["bbox_label_3d"] >= 0]
        names = np.array([CATEGORIES[one["bbox_label_3d"]] for one in labels], dtype=object)
        hits = np.array([one["num_lidar_pts"] for one in labels], dtype=int)
        points = np.array(POINTS, dtype=object)[np.digitize(hits, POINT_EDGES)]
        unscored = np.full(len(names), np.nan)
        return Boxes(names, info_boxes(info), unscored, {"LiDAR points": points})

    def found(self, run: RunRecord, frame: str) -> Boxes:
        """Return a run's boxes, from the global frame into the LiDAR's."""
        rows = self._result(run).get(frame)
        if rows is None:
            raise UserError(f"no sample {frame}", predictions(run) / RESULT_FILE)
        info = self.infos[frame]
        to_global = np.array(info["ego2global"]) @ np.array(info["lidar_points"]["lidar2ego"])
        return Boxes(
            np.array([row["detection_name"] for row in rows], dtype=object),
            _lidar_boxes(rows, np.linalg.inv(to_global)),
            np.array([row["detection_score"] for row in rows], dtype=float),
        )

    def points(self, frame: str) -> np.ndarray:
        """Return the key frame's cloud, (N, 5)."""
        return load_points(self.root, self.infos[frame])

    def image(self, frame: str, boxes: dict[str, np.ndarray], width_px: int) -> np.ndarray | None:
        """Return the six pictures with boxes in one, or None where one is missing."""
        from kd3d.viz.surround import draw_surround

        info = self.infos[frame]
        pictures = load_surround(self.root, info)
        if pictures is None:
            return None
        matrices = {camera: lidar_to_image(image) for camera, image in info["images"].items()}
        return draw_surround(pictures, boxes, matrices, width_px=width_px // 3)

    def turn_rad(self, frame: str) -> float:
        """Return the LiDAR's yaw on the vehicle: its own x points right."""
        return mount_yaw(self.infos[frame])

    def reach(self, furthest_m: np.ndarray) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return a range all around, as far as the score looks."""
        far = float(np.clip(np.ceil((furthest_m.max() + 3.0) / 5.0) * 5.0, 30.0, 50.0))
        return (-far, far), (-far, far)

    def called(self, frame: str) -> str:
        """Return the start of the token."""
        return frame[:8]

    def scorer(self, run: RunRecord, frames: list[str]) -> Callable[[np.ndarray], dict[str, Any]]:
        """Return the score of resampled samples."""
        from kd3d.evaluation.nuscenes_resample import scorer
        from kd3d.evaluation.nuscenes_score import devkit_evaluation

        version = pickle.loads(self._info_file.read_bytes())["metainfo"]["version"]
        return scorer(devkit_evaluation(predictions(run) / RESULT_FILE, self.root, version), frames)

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
