"""Pictures from above: the point cloud and boxes of several sources in one plot."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from kd3d.errors import UserError
from kd3d.viz.boxes import as_boxes, bev_corners
from kd3d.viz.style import (
    BACKGROUND,
    GRID,
    HEIGHT_RAMP,
    TEXT,
    GroupStyle,
    group_styles,
    new_figure,
    save_png,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEIGHT_RANGE_M = (-2.0, 1.5)


def draw_bev(
    points: np.ndarray,
    boxes: dict[str, np.ndarray],
    *,
    scores: dict[str, np.ndarray] | None = None,
    x_range_m: tuple[float, float] = (0.0, 70.0),
    y_range_m: tuple[float, float] = (-40.0, 40.0),
    path: str | os.PathLike[str] | None = None,
    title: str | None = None,
    width_in: float = 6.4,
    dpi: int = 110,
    legend: bool = True,
    letters: bool = True,
) -> Figure:
    """Draw a cloud and boxes seen from above: forward (x) is up, left (y) is left.

    Args:
        points: (N, >=3) x, y, z in metres, LiDAR frame; coloured by height.
        boxes: (N, 7) boxes [x, y, z_bottom, dx, dy, dz, yaw] by group. The groups "ground truth",
            "teacher", "baseline" and "distilled" have fixed colours; a tick marks the heading.
        scores: (N,) scores in [0, 1] by group; a faint box has a low score.
        x_range_m: Shown range forward.
        y_range_m: Shown range to the left.
        path: PNG file to write as well.
        title: Line above the picture.
        width_in: Width of the picture in inches; the height follows from the ranges.
        dpi: Dots per inch.
        legend: Whether to show the legend.
        letters: Whether the axes are called x and y; False for a scene that was turned to be drawn.

    Returns:
        The matplotlib figure (Agg canvas).

    Raises:
        UserError: Boxes or points of another shape, or scores that do not fit the boxes.
    """
    ratio = (x_range_m[1] - x_range_m[0]) / (y_range_m[1] - y_range_m[0])
    top_in = 0.1 + (0.26 if legend else 0.0) + (0.28 if title else 0.0)
    left_in, bottom_in, right_in = 0.45, 0.42, 0.1
    plot_in = width_in - left_in - right_in
    height_in = plot_in * ratio + bottom_in + top_in
    figure = new_figure(width_in, height_in, dpi)
    axes = figure.add_axes(
        (
            left_in / width_in,
            bottom_in / height_in,
            plot_in / width_in,
            plot_in * ratio / height_in,
        )
    )
    plot_bev(axes, points, boxes, scores=scores, x_range_m=x_range_m, y_range_m=y_range_m)
    if not letters:
        axes.set_xlabel("left (m) right")
        axes.set_ylabel("forward (m)")
    if legend and boxes:
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 1.0), ncols=4, frameon=False, fontsize=8,
            labelcolor=TEXT, borderaxespad=0.2, handlelength=1.8, columnspacing=1.4,
        )  # fmt: skip
    if title:
        figure.text(
            left_in / width_in, 1 - 0.08 / height_in, title,
            color=TEXT, fontsize=9.5, weight="bold", va="top", parse_math=False,
        )  # fmt: skip
    if path is not None:
        save_png(figure, path)
    return figure


def plot_bev(
    axes: Axes,
    points: np.ndarray,
    boxes: dict[str, np.ndarray],
    *,
    scores: dict[str, np.ndarray] | None = None,
    x_range_m: tuple[float, float] = (0.0, 70.0),
    y_range_m: tuple[float, float] = (-40.0, 40.0),
    point_px: int = 1,
) -> None:
    """Fill given axes with a picture from above; `point_px` is the size of a point in pixels.

    The other arguments are those of `draw_bev`. The axes must have their final size.
    """
    style_axes(axes, x_range_m, y_range_m)
    _plot_points(axes, points, x_range_m, y_range_m, point_px)
    for group, style in group_styles(list(boxes)).items():
        found = as_boxes(boxes[group], group)
        _plot_boxes(axes, found, style, group, _opacity(scores, group, len(found)))


def style_axes(axes: Axes, x_range_m: tuple[float, float], y_range_m: tuple[float, float]) -> None:
    """Give axes the look of a picture from above, of these ranges ahead and to the left."""
    axes.set_facecolor(BACKGROUND)
    axes.set_aspect("equal")
    axes.set_xlim(y_range_m[1], y_range_m[0])
    axes.set_ylim(*x_range_m)
    axes.grid(color=GRID, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.tick_params(colors=TEXT, labelsize=7, length=0)
    for spine in axes.spines.values():
        spine.set_color(GRID)
    axes.set_xlabel("left  y (m)  right", color=TEXT, fontsize=7, labelpad=2)
    axes.set_ylabel("forward x (m)", color=TEXT, fontsize=7, labelpad=2)


def _plot_points(
    axes: Axes,
    points: np.ndarray,
    x_range_m: tuple[float, float],
    y_range_m: tuple[float, float],
    point_px: int,
) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    points = np.asarray(points)
    if points.ndim != 2 or points.shape[1] < 3:
        raise UserError(f"points have shape {points.shape}, wanted (N, 3) or more columns")
    x, y, z = points[:, 0], points[:, 1], points[:, 2]
    seen = (x >= x_range_m[0]) & (x < x_range_m[1]) & (y > y_range_m[0]) & (y <= y_range_m[1])
    order = np.flatnonzero(seen)[np.argsort(z[seen], kind="stable")]  # high points on top
    extent = axes.get_window_extent()
    width, height = max(int(extent.width), 1), max(int(extent.height), 1)
    column = ((y_range_m[1] - y[order]) / (y_range_m[1] - y_range_m[0]) * width).astype(int)
    row = ((x[order] - x_range_m[0]) / (x_range_m[1] - x_range_m[0]) * height).astype(int)
    picture = np.full((height + point_px, width + point_px), np.nan, dtype=np.float32)
    for down in range(point_px):
        for across in range(point_px):
            shown = picture[down : down + height, across : across + width]
            shown[row, column] = np.fmax(shown[row, column], z[order])
    axes.imshow(
        picture[:height, :width], origin="lower", interpolation="nearest",
        extent=(y_range_m[1], y_range_m[0], *x_range_m), aspect="equal",
        cmap=LinearSegmentedColormap.from_list("height", HEIGHT_RAMP),
        vmin=HEIGHT_RANGE_M[0], vmax=HEIGHT_RANGE_M[1], zorder=1,
    )  # fmt: skip


def _opacity(scores: dict[str, np.ndarray] | None, group: str, count: int) -> np.ndarray:
    values = None if scores is None else scores.get(group)
    if values is None:
        return np.ones(count)
    values = np.asarray(values, dtype=np.float64).reshape(-1)
    if len(values) != count:
        raise UserError(f"{len(values)} scores for {count} boxes", group)
    return 0.4 + 0.6 * np.clip(values, 0.0, 1.0)


def _plot_boxes(
    axes: Axes, boxes: np.ndarray, style: GroupStyle, group: str, opacity: np.ndarray
) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.colors import to_rgba
    from matplotlib.lines import Line2D

    corners = bev_corners(boxes)
    front = corners[:, :2].mean(axis=1)
    heading = np.stack([np.cos(boxes[:, 6]), np.sin(boxes[:, 6])], axis=-1)
    tick = front + heading * np.maximum(0.25 * boxes[:, 3:4], 0.4)
    outline = corners[:, [0, 1, 2, 3, 0]][..., ::-1]  # (N, 5, 2) as (y, x)
    headings = np.stack([front, tick], axis=1)[..., ::-1]
    colors = [to_rgba(style.color, alpha) for alpha in opacity]
    for lines, dash in ((outline, style.dash), (headings, "-")):
        axes.add_collection(
            LineCollection(list(lines), colors=colors, linewidths=style.width, linestyles=[dash])
        )
    axes.add_line(
        Line2D([], [], color=style.color, lw=style.width, ls=style.dash, label=_label(group, boxes))
    )


def _label(group: str, boxes: np.ndarray) -> str:
    """Return the legend text; a dollar sign must not start mathematics."""
    return f"{len(boxes)} {group}".replace("$", r"\$")
