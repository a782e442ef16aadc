"""What a person sees: a progress bar with time left on a terminal, plain lines in a log."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from kd3d.fileio import write_json

T = TypeVar("T")


def say(text: str) -> None:
    """Print one line to standard error at once (standard output is for results)."""
    print(text, file=sys.stderr, flush=True)


def digits(value: float) -> str:
    """Return a metric with four digits that count, for AP in percent (52.80) and NDS (0.1378)."""
    return f"{value:#.4g}"


def gave_json(values: Any, target: str | None) -> bool:
    """Give a command's result as JSON, and return whether standard output is taken by it.

    Args:
        values: Plain data.
        target: A file; ``-``: standard output; None: nobody wants it.
    """
    if target == "-":
        print(json.dumps(values, indent=2, allow_nan=False))
        return True
    if target:
        write_json(target, values)
    return False


def track(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """Yield `items` while showing progress with the time left.

    Args:
        items: What to iterate over.
        label: Short description shown in front.
        total: Number of items where `items` has no length.
    """
    if total is None:
        total = len(items)  # type: ignore[arg-type]
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track as rich_track

        yield from rich_track(items, label, total=total, console=Console(stderr=True))
        return
    started = shown = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - shown > 10 and done < total:
            left = (now - started) / done * (total - done)
            say(f"{label}: {done}/{total}, about {left:.0f} s left")
            shown = now
    say(f"{label}: {total}/{total} in {time.monotonic() - started:.1f} s")


@contextlib.contextmanager
def quiet_logs() -> Iterator[None]:
    """Leave out what mmengine tells, on standard output, of every parameter and data set."""
    from mmengine.logging import MMLogger

    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)  # logging.disable would miss the levels it has cached
    try:
        yield
    finally:
        logger.setLevel(level)


def quiet_dependencies() -> None:
    """Silence what imports of the host stack say on every run and a user can do nothing about."""
    for message in (
        "pkg_resources is deprecated",  # mmengine
        r"`torch\.cuda\.amp\.custom_",  # spconv
        "Using a non-tuple sequence",  # spconv
        "To copy construct from a tensor",  # mmdet3d's box coders
        "dir_offset and dir_limit_offset",  # mmdet3d's anchor heads
    ):
        warnings.filterwarnings("ignore", message=message)
    logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)  # spconv asks it
