"""Where a number comes from: versions, commit, machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import kd3d

_PACKAGES = ("torch", "mmcv", "mmengine", "mmdet", "mmdet3d", "spconv-cu120", "numpy")


def origin(*packages: str) -> dict[str, Any]:
    """Return ``commit``, ``dirty``, ``versions``, ``machine`` and ``command``.

    Args:
        *packages: See `versions`.
    """
    name, dirty = commit()
    return {
        "commit": name,
        "dirty": dirty,
        "versions": versions(*packages),
        "machine": machine(),
        "command": command(),
    }


def versions(*packages: str) -> dict[str, str]:
    """Return package name -> version of what results depend on.

    Args:
        *packages: Further ones.
    """
    found = {"python": platform.python_version(), "kd3d": kd3d.__version__}
    for name in (*_PACKAGES, *packages):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def commit() -> tuple[str | None, bool | None]:
    """Return kd3d's commit and whether the tree differs from it; (None, None) outside git."""
    root = Path(kd3d.__file__).parents[1]

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD"), bool(git("status", "--porcelain"))
    except (OSError, subprocess.CalledProcessError):
        return None, None


def machine() -> dict[str, Any]:
    """Return CPU name, usable cores, memory, and the GPU if torch sees one."""
    import torch

    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [
            line.split(":", 1)[1].strip()
            for line in info.read_text().splitlines()
            if line.startswith("model name")
        ]
        cpu = names[0] if names else cpu
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    found: dict[str, Any] = {"cpu": cpu, "cores": cores}
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        found["memory_gb"] = round(
            os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1
        )
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found


def command() -> str:
    """Return the command line of this process."""
    program = Path(sys.argv[0])
    ours = "kd3d" in program.name or program.parts[-3:] == ("kd3d", "cli", "main.py")
    return " ".join(["kd3d" if ours else sys.argv[0], *sys.argv[1:]])
