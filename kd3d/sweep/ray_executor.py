"""Runs on a Ray cluster, or on Ray's own processes on this machine."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from kd3d.errors import UserError
from kd3d.sweep import process

UNLIMITED = 1 << 30


def _run(folder: str, cwd: str, threads: int) -> int:
    """Run one worker on a node to its end and return its exit code."""
    child = process.start(Path(folder), Path(cwd), process.environment(threads))
    try:
        return child.wait()
    finally:
        process.stop([child])


def _knock(address: str | None) -> None:
    """Raise OSError at once where nothing listens; Ray itself tries for minutes, then aborts."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


class RayExecutor:
    """Runs as Ray tasks; every node must see the same folders and have kd3d installed.

    Ray starts a run again on another node when its node is lost; it goes on from its checkpoint.

    Args:
        jobs: How many at once; None leaves it to the cluster.
        threads: CPUs a run asks for; None: this machine's share, at most a node's.
        address: ``auto``, ``ray://host:port`` or ``host:port`` of a cluster; None starts Ray here.

    Raises:
        UserError: Ray is not installed, or the address does not answer.
    """

    def __init__(
        self, jobs: int | None = None, threads: int | None = None, address: str | None = None
    ) -> None:
        try:
            import ray
        except ImportError:
            raise UserError(
                "Ray is not installed", "--executor ray", "pip install 'kd3d[ray]'"
            ) from None
        self.ray = ray
        try:
            _knock(address)
            ray.init(address or "local", log_to_driver=False)
        except (OSError, RuntimeError, ValueError, ImportError) as error:
            raise UserError(
                f"no Ray cluster answers ({str(error).splitlines()[0]})", "--address"
            ) from error
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        most = int(max((node.get("CPU", 0) for node in nodes), default=1))
        self.capacity = jobs or UNLIMITED
        self.threads = threads or min(max(1, process.usable_cores() // (jobs or 1)), max(1, most))
        gpus = any(node.get("GPU", 0) for node in nodes)
        self.task = ray.remote(num_cpus=self.threads, num_gpus=1 if gpus else 0, max_retries=3)(
            _run
        )
        self.running: dict[str, tuple[Any, Path]] = {}

    def start(self, name: str, folder: Path) -> None:
        """Hand a run to Ray."""
        ref = self.task.remote(str(folder.resolve()), os.getcwd(), self.threads)
        self.running[name] = ref, folder

    def finished(self) -> list[tuple[str, str | None]]:
        """Return (name, error or None) of the runs that ended since the last call."""
        refs = {ref: name for name, (ref, _) in self.running.items()}
        ready, _ = self.ray.wait(list(refs), num_returns=len(refs), timeout=0) if refs else ([], [])
        ended = []
        for ref in ready:
            name = refs[ref]
            _, folder = self.running.pop(name)
            try:
                error = process.failure_line(self.ray.get(ref), folder)
            except self.ray.exceptions.RayError as fault:
                error = f"Ray: {str(fault).strip().splitlines()[0]}"
            ended.append((name, error))
        return ended

    def stop(self) -> None:
        """End all runs and the connection."""
        refs = [ref for ref, _ in self.running.values()]
        for ref in refs:
            self.ray.cancel(ref)
        if refs:
            self.ray.wait(refs, num_returns=len(refs), timeout=2 * process.GRACE_S)
        self.running.clear()
        self.ray.shutdown()
