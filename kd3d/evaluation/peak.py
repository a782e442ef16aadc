"""Memory of a call, on the device where it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


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
