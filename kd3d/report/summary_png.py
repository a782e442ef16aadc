"""One picture for a README: a frame with every model's boxes, and the APs beside it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kd3d.errors import UserError
from kd3d.report.frames import choose_frames
from kd3d.report.models import Model, group
from kd3d.report.page import load_runs
from kd3d.report.pictures import Above, draw_image
from kd3d.report.record import RunRecord
from kd3d.report.scenes import Scenes
from kd3d.report.scenes.scenes import GROUND_TRUTH
from kd3d.report.tables import class_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 110
HEIGHT_IN, BEV_HEIGHT_IN, RIGHT_IN = 5.8, 4.85, 5.4
LEFT_IN, BOTTOM_IN, GAP_IN, EDGE_IN = 0.5, 0.45, 0.45, 0.2


def write_summary_png(
    runs: Sequence[str | os.PathLike[str] | RunRecord],
    path: str | os.PathLike[str],
    *,
    frame: str | None = None,
    data_root: str | os.PathLike[str] | None = None,
    score_threshold: float = 0.3,
) -> None:
    """Draw one frame from above and in the camera(s), and bars of the AP by class.

    Args:
        runs: Run folders or records; the first of each role is shown.
        path: The PNG file.
        frame: Frame id; by default the one with the largest difference between baseline and
            distilled, or the first.
        data_root: Data set folder, where the one in the records has moved.
        score_threshold: Boxes below this score are not drawn.

    Raises:
        UserError: Predictions or data are missing, or the frame was not evaluated.
    """
    from kd3d.viz.style import save_png

    records = _first_of_role(group(load_runs(runs)))
    missing: list[str] = []
    chosen = choose_frames(records, missing, score=score_threshold, root=data_root)
    if chosen is None:
        raise UserError(f"no picture to draw: {'; '.join(missing)}", path)
    choice, scenes = chosen
    frame = frame or choice["largest_difference"] or choice["shown"][0]
    if frame not in choice["frames"]:
        raise UserError("this frame was not evaluated by all runs", frame)
    save_png(_draw(records, scenes, frame, score_threshold), path)


def _first_of_role(models: list[Model]) -> list[RunRecord]:
    first: dict[str, RunRecord] = {}
    for model in models:
        first.setdefault(model.role, model.first)
    return list(first.values())


def _draw(runs: list[RunRecord], scenes: Scenes, frame: str, score: float) -> Figure:
    from kd3d.viz.style import TEXT, new_figure

    above = Above(scenes, frame, runs, score)
    (rear, front), (right, left) = above.x_range_m, above.y_range_m
    ratio = (left - right) / (front - rear)
    bev_width_in = BEV_HEIGHT_IN * ratio
    right_in = LEFT_IN + bev_width_in + GAP_IN
    figure = new_figure(right_in + RIGHT_IN + EDGE_IN, HEIGHT_IN, DPI)
    axes = _axes_in(figure, LEFT_IN, BOTTOM_IN, bev_width_in, BEV_HEIGHT_IN)
    groups = above.plot(axes, {run.role: run for run in runs})
    simulated = any(run.data["simulated"] for run in runs)
    _title(figure, LEFT_IN, f"Frame {scenes.called(frame)}" + (" (simulated)" if simulated else ""))
    seeds = ", ".join(str(seed) for seed in sorted({run.seed for run in runs}))
    benchmark = runs[0].benchmark
    what = ", ".join(filter(None, (benchmark.title, benchmark.class_score[0], benchmark.detail)))
    heading = f"{what}{', simulated data' if simulated else ''}, seed {seeds}"
    _title(figure, right_in, heading)
    handles, _ = axes.get_legend_handles_labels()
    figure.legend(
        handles, groups, loc="upper left", borderaxespad=0, frameon=False, fontsize=9, ncols=4,
        bbox_to_anchor=(right_in / figure.get_figwidth(), 1 - 0.45 / HEIGHT_IN),
        labelcolor=TEXT, handlelength=1.6, columnspacing=1.2,
    )  # fmt: skip
    photo_in = _draw_photo(figure, right_in, runs[-1], scenes, frame, score)
    bars_in = BOTTOM_IN + photo_in
    _bars(
        _axes_in(figure, right_in + 0.8, bars_in, RIGHT_IN - 0.8, HEIGHT_IN - 0.8 - bars_in), runs
    )
    return figure


def _draw_photo(
    figure: Figure, left_in: float, run: RunRecord, scenes: Scenes, frame: str, score: float
) -> float:
    """Draw the camera picture at the bottom and return the height it takes, in inches."""
    from kd3d.viz.style import TEXT

    photo = draw_image(scenes, frame, {run.role: run}, score, width_px=round(RIGHT_IN * DPI))
    if photo is None:
        return 0.0
    height_in = RIGHT_IN * photo.shape[0] / photo.shape[1]
    axes = _axes_in(figure, left_in, 0.2, RIGHT_IN, height_in)
    axes.imshow(photo, interpolation="nearest", aspect="auto")
    axes.axis("off")
    figure.text(
        left_in / figure.get_figwidth(), (0.28 + height_in) / HEIGHT_IN,
        f"{GROUND_TRUTH} in white, {run.role} in colour", color=TEXT, fontsize=9,
    )  # fmt: skip
    return height_in + 0.35


def _axes_in(
    figure: Figure, left_in: float, bottom_in: float, width_in: float, height_in: float
) -> Axes:
    width, height = figure.get_size_inches()
    return figure.add_axes(
        (left_in / width, bottom_in / height, width_in / width, height_in / height)
    )


def _title(figure: Figure, left_in: float, text: str) -> None:
    from kd3d.viz.style import TEXT

    figure.text(
        left_in / figure.get_figwidth(), 1 - 0.16 / HEIGHT_IN, text, va="top",
        color=TEXT, fontsize=11.5, weight="bold", parse_math=False,
    )  # fmt: skip


def _bars(axes: Axes, runs: list[RunRecord]) -> None:
    from kd3d.viz.style import BACKGROUND, GRID, TEXT, group_styles

    styles = group_styles([run.role for run in runs])
    names, (_, score_of) = class_names(runs), runs[0].benchmark.class_score
    step = len(runs) + 0.8
    bar_pt = 72 * HEIGHT_IN * axes.get_position().height / (step * len(names))
    size = min(8.5, max(5.0, 1.1 * bar_pt))  # figures of many classes must not touch
    for row, run in enumerate(runs):
        places = [i * step + row for i in range(len(names))]
        values = [score_of(run.result, name) for name in names]
        axes.barh(places, [v or 0.0 for v in values], height=0.8, color=styles[run.role].color)
        for place, value in zip(places, values):
            text = "not measured" if value is None else f"{value:.1f}"
            axes.text((value or 0) + 1, place, text, color=TEXT, fontsize=size, va="center")
    axes.set_yticks([i * step + (len(runs) - 1) / 2 for i in range(len(names))], names)
    axes.invert_yaxis()
    axes.set_xlim(0, 108)
    axes.set_xticks(range(0, 101, 20))
    axes.set_facecolor(BACKGROUND)
    axes.grid(axis="x", color=GRID, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.tick_params(colors=TEXT, labelsize=9, length=0)
    axes.tick_params(axis="x", labelsize=7)
    for spine in axes.spines.values():
        spine.set_visible(False)
