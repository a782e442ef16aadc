"""Mean, standard error and interval of a few seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from scipy.special import stdtrit

CONFIDENCE = 0.95


def spread(values: list[float]) -> dict[str, Any]:
    """Return n, mean, sd, standard error and 95 % interval (Student's t) of some values.

    What needs two values is None for one.
    """
    n, mean = len(values), statistics.fmean(values)
    result: dict[str, Any] = {
        "n": n, "mean": mean, "sd": None, "se": None, "ci95": None, "values": values
    }  # fmt: skip
    if n > 1:
        sd = statistics.stdev(values)
        se = sd / math.sqrt(n)
        half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * se
        result.update(sd=sd, se=se, ci95=[mean - half, mean + half])
    return result


def mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of what is known, or None."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def of_interval(interval: list[float], higher: bool) -> str:
    """Return ``gain``, ``loss`` or, where the interval holds 0, ``no evidence``.

    Args:
        interval: Lower and upper end of a difference.
        higher: Whether more is better.
    """
    if interval[0] <= 0 <= interval[1]:
        return "no evidence"
    return "gain" if (interval[0] > 0) == higher else "loss"
