"""Colours, line styles and PNG writing shared by every picture of kd3d."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kd3d.fileio import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BACKGROUND = "#10151f"
GRID = "#2a3344"
TEXT = "#d7deea"
HEIGHT_RAMP = ("#33415f", "#5f789f", "#a3b4c9", "#efe7cf")  # low to high


@dataclass(frozen=True)
class GroupStyle:
    """How the boxes of one group are drawn.

    Attributes:
        color: Hex colour for dark backgrounds and photographs.
        width: Line width in points at 100 dpi.
        dash: matplotlib line style.
    """

    color: str
    width: float = 1.4
    dash: str | tuple[int, tuple[float, ...]] = "-"


# Hues from M. Okabe and K. Ito, "Color Universal Design", 2008; told apart by the three common
# kinds of colour blindness. Dashes say the same a second time.
NAMED_STYLES = {
    "ground truth": GroupStyle("#ffffff", 2.0),
    "teacher": GroupStyle("#56b4e9", 1.5),
    "baseline": GroupStyle("#f0a500", 1.5, (0, (4, 1.5))),
    "distilled": GroupStyle("#19d3a2", 1.5),
}
OTHER_STYLES = (
    GroupStyle("#cc79a7"),
    GroupStyle("#f0e442", dash=(0, (4, 1.5))),
    GroupStyle("#d55e00"),
    GroupStyle("#8fb8ff", dash=(0, (1, 1))),
)


def group_styles(groups: list[str]) -> dict[str, GroupStyle]:
    """Return one style a group; the known roles keep theirs, others take the next free one."""
    styles: dict[str, GroupStyle] = {}
    free = 0
    for group in groups:
        if group.lower() in NAMED_STYLES:
            styles[group] = NAMED_STYLES[group.lower()]
        else:
            styles[group] = OTHER_STYLES[free % len(OTHER_STYLES)]
            free += 1
    return styles


def new_figure(width_in: float, height_in: float, dpi: int = 100) -> Figure:
    """Return an Agg figure with the dark background; no global matplotlib state is touched."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), dpi=dpi, facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    return figure


def pixels(figure: Figure) -> np.ndarray:
    """Return the drawn figure as (H, W, 3) uint8 RGB."""
    figure.canvas.draw()
    return np.ascontiguousarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])  # type: ignore[attr-defined]


def png_bytes(figure: Figure, colors: int | None = None) -> bytes:
    """Return the figure as PNG bytes that depend on nothing but the picture.

    Args:
        figure: The figure.
        colors: Reduce to this many palette colours (2 to 256), about a third of the size.
    """
    from PIL import Image

    picture = Image.fromarray(pixels(figure))
    if colors is not None:
        picture = picture.quantize(colors, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    picture.save(buffer, "png")
    return buffer.getvalue()


def jpeg_bytes(picture: np.ndarray, quality: int = 82) -> bytes:
    """Return (H, W, 3) uint8 RGB as JPEG bytes: for photographs, a fraction of the PNG's size."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "jpeg", quality=quality)
    return buffer.getvalue()


def save_png(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write the figure as PNG, whole or not at all."""
    write_bytes(path, png_bytes(figure))
