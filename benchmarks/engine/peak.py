"""Peak memory of one step, measured in a process of its own."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

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


def peak_bytes(step: Callable[[], Any], warmup: int = 1) -> int:
    """Return the most memory in use at any moment of one call.

    On a GPU ``torch.cuda.max_memory_allocated``; else the kernel's high-water mark of the resident
    size (VmHWM in /proc/self/status, set back through /proc/self/clear_refs before the call).

    Args:
        step: Called `warmup` times before, so that optimizer states are there.
        warmup: See above.
    """
    for _ in range(warmup):
        step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        step()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated()
    Path("/proc/self/clear_refs").write_text("5")
    step()
    return status_bytes("VmHWM")


def in_use_bytes() -> int:
    """Return the memory in use now: the GPU's tensors, or this process's resident size."""
    if torch.cuda.is_available():
        return torch.cuda.memory_allocated()
    return status_bytes("VmRSS")


def status_bytes(name: str) -> int:
    """Return a size of /proc/self/status in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(name)
