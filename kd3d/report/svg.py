"""Small charts as SVG text: crisp at any size, coloured by the page's CSS variables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

SMALL, LARGE = (350, 230), (480, 270)  # width, height in CSS pixels at full size
LEFT, RIGHT, TOP, BOTTOM = 42, 10, 24, 34
MOST_POINTS = 600  # a longer line is thinned: more cannot be seen
WIDE = 50.0


@dataclass
class Series:
    """One line of a chart.

    Attributes:
        label: Name in the legend and the tooltip.
        x: Abscissas, ascending.
        y: Ordinates; NaN makes a gap.
        css: Class of the line, which sets colour and dash.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    css: str


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about `count` round tick values that cover [low, high] from inside."""
    span = (high - low) or 1.0
    raw = span / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2, 5 times the powers of ten in a range of exponents; wide: powers alone."""
    factors = (1, 2, 5) if high - low < 2 else (1,)
    powers = range(math.floor(low), math.ceil(high) + 1)
    ticks = [factor * 10.0**power for power in powers for factor in factors]
    return [tick for tick in ticks if low <= math.log10(tick) <= high]


def line_chart(
    series: list[Series],
    x_label: str,
    y_label: str,
    *,
    title: str,
    size: tuple[int, int] = LARGE,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    log_when_wide: bool = False,
) -> Markup:
    """Return a line chart as inline SVG; one without any point says so.

    Args:
        series: The lines.
        x_label: Text below.
        y_label: Text above the vertical axis.
        title: What the chart shows, for screen readers.
        size: Width and height.
        x_range: Shown range; that of the data by default.
        y_range: Shown range; from 0 (or lower) to the data's largest by default.
        log_when_wide: Logarithmic vertical axis for positive values that span a factor of
            `WIDE` or more; the axis label then says so.
    """
    width, height = size
    values = [v for s in series for v in s.y if math.isfinite(v)]
    logarithmic = log_when_wide and min(values, default=0) > 0 and max(values) > WIDE * min(values)
    if logarithmic:
        y_label += " (log)"
        y_range = (math.log10(min(values)) - 0.05, math.log10(max(values)) + 0.05)
    x0, x1 = x_range or _range([v for s in series for v in s.x], False)
    y0, y1 = y_range or _range([v for s in series for v in s.y], True)

    def place(x: float, y: float) -> tuple[float, float]:
        y = math.log10(y) if logarithmic else y
        across = LEFT + (x - x0) / ((x1 - x0) or 1) * (width - LEFT - RIGHT)
        up = height - BOTTOM - (y - y0) / ((y1 - y0) or 1) * (height - TOP - BOTTOM)
        return across, up

    parts = [
        Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
            width, height, title
        )
    ]
    for tick in log_ticks(y0, y1) if logarithmic else nice_ticks(y0, y1):
        _, up = place(x0, tick)
        parts.append(Markup('<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(
            LEFT, width - RIGHT, up, up))  # fmt: skip
        parts.append(_text(LEFT - 6, up + 3.5, _number(tick), "tick end"))
    for tick in nice_ticks(x0, x1):
        across, _ = place(tick, 10**y0 if logarithmic else y0)
        parts.append(_text(across, height - BOTTOM + 15, _number(tick), "tick middle"))
    parts.append(_text(width - RIGHT, height - 4, x_label, "label end"))
    parts.append(_text(2, 11, y_label, "label"))
    if not any(math.isfinite(v) for line in series for v in line.y):
        parts.append(_text((LEFT + width) / 2, height / 2, "no point to show", "label middle"))
    for line in series:
        parts.append(_path(line, place))
    parts.append(Markup("</svg>"))
    return Markup("").join(parts)


def _path(line: Series, place: object) -> Markup:
    commands, pen_up = [], True
    stride = max(1, len(line.x) // MOST_POINTS)
    for x, y in zip(line.x[::stride], line.y[::stride]):
        if not (math.isfinite(x) and math.isfinite(y)):
            pen_up = True
            continue
        across, up = place(x, y)  # type: ignore[operator]
        # The empty step after a move makes a dot, so that a lone point is seen.
        commands.append(f"{'M' if pen_up else 'L'}{across:.1f} {up:.1f}" + "h0" * pen_up)
        pen_up = False
    return Markup('<path class="line {}" d="{}"><title>{}</title></path>').format(
        line.css, " ".join(commands), line.label
    )


def _text(x: float, y: float, text: str, css: str) -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(css, x, y, text)


def _range(values: list[float], from_zero: bool) -> tuple[float, float]:
    finite = [v for v in values if math.isfinite(v)]
    if not finite:
        return 0.0, 1.0
    low, high = min(finite), max(finite)
    if from_zero:
        low, high = min(low, 0.0), high + 0.04 * (high - min(low, 0.0))
    return (low, high) if high > low else (low, low + 1.0)


def _number(value: float) -> str:
    if value and (abs(value) >= 1e5 or abs(value) < 1e-3):
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:g}"


def legend(entries: list[tuple[str, str]]) -> Markup:
    """Return a legend of (label, css class) entries."""
    items = [
        Markup('<li><svg viewBox="0 0 24 8" aria-hidden="true"><path class="line {}" '
               'd="M1 4H23"/></svg>{}</li>').format(css, escape(label))
        for label, css in entries
    ]  # fmt: skip
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(items))
