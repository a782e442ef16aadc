"""The frames section of the page: each shown frame from above and in its pictures, encoded."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import numpy as np

from kd3d.console import track
from kd3d.data.nuscenes_pictures import turned, turned_boxes
from kd3d.report.frames import grouped_boxes
from kd3d.report.record import RunRecord
from kd3d.report.scenes import Scenes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BEV_WIDTH_IN, BEV_DPI, BEV_COLORS = 4.4, 150, 96
IMAGE_WIDTH_PX = 1200

Range = tuple[float, float]


class Above:
    """One frame from above, turned so that ahead is up.

    Args:
        scenes: The data set.
        frame: The frame.
        runs: Whose boxes the range must show.
        score: Boxes below this score are left out.
    """

    def __init__(self, scenes: Scenes, frame: str, runs: list[RunRecord], score: float) -> None:
        self.scenes, self.frame, self.score = scenes, frame, score
        self.angle = scenes.turn_rad(frame)
        self.points = turned(scenes.folder.points(frame), self.angle)
        boxes, _ = self.boxes({run.name: run for run in runs})
        every = np.concatenate(list(boxes.values()))
        furthest_m = np.abs(every[:, :2]).max(axis=0, initial=0.0)
        self.x_range_m, self.y_range_m = scenes.reach(furthest_m)

    def boxes(
        self, groups: dict[str, RunRecord]
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Return turned boxes, and scores, of the labels and of runs by group."""
        boxes, scores = grouped_boxes(self.scenes, self.frame, groups, self.score)
        return {group: turned_boxes(rows, self.angle) for group, rows in boxes.items()}, scores

    def png(self, groups: dict[str, RunRecord]) -> bytes:
        """Return the picture with the labels and the runs' boxes."""
        from kd3d.viz.bev import draw_bev
        from kd3d.viz.style import png_bytes

        boxes, scores = self.boxes(groups)
        figure = draw_bev(
            self.points, boxes, scores=scores, x_range_m=self.x_range_m,
            y_range_m=self.y_range_m, width_in=BEV_WIDTH_IN, dpi=BEV_DPI, letters=not self.angle,
        )  # fmt: skip
        return png_bytes(figure, BEV_COLORS)

    def plot(self, axes: Axes, groups: dict[str, RunRecord]) -> list[str]:
        """Fill axes with the picture and return the groups drawn."""
        from kd3d.viz.bev import plot_bev

        boxes, scores = self.boxes(groups)
        plot_bev(
            axes, self.points, boxes, scores=scores, x_range_m=self.x_range_m,
            y_range_m=self.y_range_m,
        )  # fmt: skip
        return list(boxes)


def draw_image(
    scenes: Scenes, frame: str, groups: dict[str, RunRecord], score: float, width_px: int
) -> np.ndarray | None:
    """Return the camera picture(s) with the labels and the runs' boxes, or None without any."""
    boxes, _ = grouped_boxes(scenes, frame, groups, score)
    return scenes.image(frame, boxes, width_px)


def draw_frames(
    choice: dict[str, Any], scenes: Scenes, runs: list[RunRecord]
) -> list[dict[str, Any]]:
    """Return the shown frames with a BEV PNG and an image JPEG for each run, as data URIs."""
    from kd3d.viz.style import jpeg_bytes

    drawn = [run for run in runs if run.name in choice["runs"]]
    score = choice["score"]
    frames = []
    for frame in track(choice["shown"], "drawing frames"):
        above = Above(scenes, frame, drawn, score)
        panels = []
        for run in drawn:
            groups = {run.role: run}
            photo = draw_image(scenes, frame, groups, score, IMAGE_WIDTH_PX)
            panels.append(
                {
                    "run": run.name,
                    "role": run.role,
                    "counts": choice["frames"][frame]["runs"][run.name],
                    "bev": data_uri("png", above.png(groups)),
                    "image": None if photo is None else data_uri("jpeg", jpeg_bytes(photo)),
                }
            )
        frames.append(
            {
                "id": scenes.called(frame),
                "labels": choice["frames"][frame]["labels"],
                "largest": frame == choice["largest_difference"],
                "panels": panels,
            }
        )
    return frames


def data_uri(kind: str, data: bytes) -> str:
    """Return picture bytes as a data URI."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
