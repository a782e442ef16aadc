"""Camera pictures with projected 3D boxes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from kd3d.errors import UserError
from kd3d.viz.boxes import EDGES, FRONT_DIAGONALS, as_boxes, box_corners, project_segments
from kd3d.viz.style import GroupStyle, group_styles, new_figure, save_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_image_boxes(
    image: np.ndarray,
    boxes: dict[str, np.ndarray],
    lidar_to_image: np.ndarray,
    *,
    path: str | os.PathLike[str] | None = None,
    width_px: int | None = None,
    near_m: float = 0.1,
    legend: bool = True,
) -> Figure:
    """Draw 3D boxes into a camera picture: 12 edges each, the front face crossed.

    Args:
        image: (H, W, 3) uint8 RGB.
        boxes: (N, 7) LiDAR-frame boxes by group, in the same colours as `draw_bev`.
        lidar_to_image: (4, 4) LiDAR to homogeneous pixels (u*d, v*d, d, 1).
        path: PNG file to write as well.
        width_px: Width of the result; the picture's own by default.
        near_m: Boxes are cut at this depth in front of the camera.
        legend: Whether to name the groups in a corner.

    Returns:
        The matplotlib figure (Agg canvas).

    Raises:
        UserError: An image or matrix of another shape.
    """
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise UserError(f"image is {image.dtype} {image.shape}, wanted uint8 (H, W, 3)")
    if np.shape(lidar_to_image) != (4, 4):
        raise UserError(f"lidar_to_image has shape {np.shape(lidar_to_image)}, wanted (4, 4)")
    height, width = image.shape[:2]
    shown_px = width_px or width
    figure = new_figure(shown_px / 100, shown_px * height / width / 100, dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(image, interpolation="antialiased", aspect="auto")
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    axes.axis("off")
    for group, style in group_styles(list(boxes)).items():
        _plot_wireframes(axes, boxes[group], style, group, lidar_to_image, near_m)
    if legend and boxes:
        axes.legend(
            loc="upper right", fontsize=8, framealpha=0.65, facecolor="black",
            edgecolor="none", labelcolor="white", handlelength=1.8, borderpad=0.4,
        )  # fmt: skip
    if path is not None:
        save_png(figure, path)
    return figure


def _plot_wireframes(
    axes: Axes,
    boxes: np.ndarray,
    style: GroupStyle,
    group: str,
    lidar_to_image: np.ndarray,
    near_m: float,
) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.lines import Line2D

    corners = box_corners(as_boxes(boxes, group))  # (N, 8, 3)
    for pairs, width, dash in (
        (EDGES, style.width, style.dash),
        (FRONT_DIAGONALS, 0.5 * style.width, "-"),
    ):
        segments = corners[:, pairs].reshape(-1, 2, 3)
        pixels = project_segments(segments, lidar_to_image, near_m)
        axes.add_collection(
            LineCollection(
                list(pixels), colors=style.color, linewidths=width, linestyles=[dash], alpha=0.9
            )
        )
    label = group.replace("$", r"\$").lstrip("_")
    axes.add_line(Line2D([], [], color=style.color, lw=style.width, ls=style.dash, label=label))
