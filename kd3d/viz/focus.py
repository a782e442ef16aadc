"""Pictures from above of where terms pull at a student."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import numpy as np

from kd3d.errors import UserError
from kd3d.viz.bev import style_axes
from kd3d.viz.boxes import as_boxes, bev_corners
from kd3d.viz.style import NAMED_STYLES, TEXT, new_figure, save_png

COLUMNS, SIDE_IN, TOP_IN, DPI = 4, 2.6, 0.34, 120
OUTLINE = NAMED_STYLES["ground truth"].color


@dataclass(frozen=True)
class Pull:
    """One panel.

    Attributes:
        title: Above it.
        cells: (H, W) at least 0, H along y and W along x; drawn relative to its largest.
        extent_m: (x_min, y_min, x_max, y_max) that the cells cover.
        boxes: (N, 7) [x, y, z_bottom, dx, dy, dz, yaw] of the labels.
    """

    title: str
    cells: np.ndarray
    extent_m: tuple[float, float, float, float]
    boxes: np.ndarray


def draw_focus(panels: list[Pull], path: str | os.PathLike[str]) -> None:
    """Draw panels side by side, brighter where a term pulls more; forward (x) is up.

    Brightness is the square root of the share of the panel's largest value, so that weak pulls
    show.

    Args:
        panels: At least one.
        path: PNG file to write.

    Raises:
        UserError: No panel.
    """
    from matplotlib.collections import LineCollection

    if not panels:
        raise UserError("no term taps a map on the ground", path, "there is nothing to draw")
    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    width, height = columns * SIDE_IN, rows * (SIDE_IN + TOP_IN)
    figure = new_figure(width, height, DPI)
    for place, panel in enumerate(panels):
        row, column = divmod(place, columns)
        bottom = height - (row + 1) * (SIDE_IN + TOP_IN)
        axes = figure.add_axes(
            ((column * SIDE_IN + 0.3) / width, (bottom + 0.22) / height,
             (SIDE_IN - 0.36) / width, (SIDE_IN - 0.3) / height)
        )  # fmt: skip
        x_min, y_min, x_max, y_max = panel.extent_m
        style_axes(axes, (x_min, x_max), (y_min, y_max))
        axes.grid(False)
        shown = np.sqrt(panel.cells / max(float(panel.cells.max()), 1e-30))
        axes.imshow(
            shown.T, origin="lower", extent=(y_min, y_max, x_min, x_max), aspect="equal",
            cmap="inferno", vmin=0, vmax=1, zorder=1.5, interpolation="nearest",
        )  # fmt: skip
        outlines = bev_corners(as_boxes(panel.boxes))[:, [0, 1, 2, 3, 0]][..., ::-1]
        axes.add_collection(LineCollection(list(outlines), colors=OUTLINE, linewidths=0.5))
        axes.set_xlim(y_max, y_min)
        axes.set_ylim(x_min, x_max)
        axes.set_xlabel("")
        axes.set_ylabel("")
        axes.set_title(panel.title, color=TEXT, fontsize=8, pad=3, parse_math=False)
    save_png(figure, path)
