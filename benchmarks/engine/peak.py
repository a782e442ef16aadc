"""A function in a process of its own, whose memory can be measured; see `kd3d.evaluation.peak`."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
from collections.abc import Iterator
from typing import Any

# glibc keeps freed memory for later; with this every tensor above 64 kB returns to the system at
# once, so that the resident size follows the live tensors.
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "MALLOC_ARENA_MAX": "1",
}


def in_fresh_process(target: str, **arguments: Any) -> Any:
    """Call ``module:function`` in a new interpreter and return its result.

    Args:
        target: Where the function is.
        **arguments: Its arguments; picklable, as its result.

    Raises:
        RuntimeError: The process ended without a result.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_call, args=(theirs, target, arguments))
    with _environment(MALLOC):
        process.start()
    theirs.close()
    try:
        result = ours.recv()
    except EOFError:
        result = None
    finally:
        process.join()
    if process.exitcode != 0:
        raise RuntimeError(f"{target} ended with exit code {process.exitcode}")
    return result


def _call(pipe: Any, target: str, arguments: dict[str, Any]) -> None:
    module, _, function = target.partition(":")
    pipe.send(getattr(importlib.import_module(module), function)(**arguments))


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
