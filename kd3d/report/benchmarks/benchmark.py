"""A benchmark's metrics, as reports, sweeps and verdicts read them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Result = dict[str, Any]


@dataclass(frozen=True)
class Metric:
    """One number of a result.

    Attributes:
        key: In JSON files and on the command line.
        label: For readers.
        read: Takes it out of a result; None where the result lacks it.
        higher: Whether more is better; False for errors.
        unit: Of a difference, "AP" for instance; empty where there is none.
        digits: Shown behind the point.
        short: For narrow columns; the label where it is empty.
    """

    key: str
    label: str
    read: Callable[[Result], float | None]
    higher: bool = True
    unit: str = ""
    digits: int = 2
    short: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "short", self.short or self.label)

    def show(self, value: float, signed: bool = False) -> str:
        """Return the value as text, with a true minus sign."""
        return f"{value:{'+' if signed else ''}.{self.digits}f}".replace("-", "\u2212")


@dataclass(frozen=True)
class Benchmark:
    """A benchmark.

    Attributes:
        name: Its key.
        title: For readers.
        metrics: What runs are compared by; the first is the primary one.
        rule: How the metrics are meant, for below a table.
        detail: Words behind a metric's label in a sentence, "moderate" for instance; or empty.
        layout: The data layout's name in a sentence.
        class_score: Score of a class for bars: label and reader of (result, class name), 0 to 100.
        classes: Takes the evaluated classes out of a result.
        validate: Raises a UserError for a malformed result.
        brief: Leaves of a result what its metrics need.
    """

    name: str
    title: str
    metrics: tuple[Metric, ...]
    rule: str
    detail: str
    layout: str
    class_score: tuple[str, Callable[[Result, str], float | None]]
    classes: Callable[[Result], list[str]]
    validate: Callable[[Result], None]
    brief: Callable[[Result], Result]

    @property
    def primary(self) -> Metric:
        """The metric of the verdict."""
        return self.metrics[0]
