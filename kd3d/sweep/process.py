"""A run as a process of its own: whatever it dies of, the sweep lives on."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from kd3d.errors import UserError
from kd3d.sweep.runs import LOG_FILE

GRACE_S = 10.0
LOCK_FILE = ".lock"
QUIET = "ignore:pkg_resources is deprecated:UserWarning"  # the host stack's, at every start
_PROGRESS = re.compile(r"\s*\S.*: \d+/\d+(, about| in )")
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def usable_cores() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def environment(threads: int, gpu: str | None = None) -> dict[str, str]:
    """Return the variables that limit a run to some threads and one GPU."""
    variables = {name: str(threads) for name in _THREADS}
    variables["GOMP_SPINCOUNT"] = os.environ.get("GOMP_SPINCOUNT", "10000")
    if gpu is not None:
        variables["CUDA_VISIBLE_DEVICES"] = gpu
    return variables


def start(folder: Path, cwd: Path, variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start the worker of a run folder; its output is added to the folder's log.

    The worker ends when the pipe to its standard input closes, that is, with this process.
    """
    with (folder / LOG_FILE).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "kd3d.sweep.worker", str(folder)],
            cwd=cwd,
            env={**os.environ, **variables, "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": QUIET},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def stop(processes: list[subprocess.Popen[bytes]]) -> None:
    """End workers with everything they started: politely, after `GRACE_S` seconds for good."""
    for process in processes:
        _signal(process, signal.SIGTERM)
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
        _signal(process, signal.SIGKILL)
        process.wait()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


class LocalExecutor:
    """Runs on this machine.

    Args:
        jobs: How many at once; the machine's threads are divided among them.
        threads: Of each run, instead of its share.
    """

    def __init__(self, jobs: int = 1, threads: int | None = None) -> None:
        self.capacity = jobs
        self.threads = threads or max(1, usable_cores() // jobs)
        self.gpus = _gpus() if jobs > 1 else []
        self.running: dict[str, tuple[int, Path, subprocess.Popen[bytes]]] = {}

    def start(self, name: str, folder: Path) -> None:
        """Start a run."""
        slot = min(set(range(self.capacity)) - {slot for slot, *_ in self.running.values()})
        gpu = self.gpus[slot % len(self.gpus)] if self.gpus else None
        process = start(folder, Path.cwd(), environment(self.threads, gpu))
        self.running[name] = slot, folder, process

    def finished(self) -> list[tuple[str, str | None]]:
        """Return (name, error or None) of the runs that ended since the last call."""
        ended = []
        for name, (_, folder, process) in list(self.running.items()):
            code = process.poll()
            if code is not None:
                ended.append((name, failure_line(code, folder)))
                self.running.pop(name)
        return ended

    def stop(self) -> None:
        """End all runs."""
        stop([process for *_, process in self.running.values()])
        self.running.clear()


def _gpus() -> list[str]:
    """Return the GPUs this process may use, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name.strip()]
    return [str(i) for i in range(torch.cuda.device_count())]


def failure_line(code: int, folder: Path) -> str | None:
    """Return one line on why a run failed, from its exit code and log; None for exit code 0."""
    if code == 0:
        return None
    if code < 0:
        name = signal.Signals(-code).name
        why = {"SIGKILL": " (out of memory?)", "SIGSEGV": " (a crash in compiled code)"}
        return f"ended by {name}{why.get(name, '')}"
    lines = _tail(folder / LOG_FILE)
    return lines[-1].removeprefix("kd3d: error: ") if lines else f"exit code {code}"


def progress_line(folder: Path) -> str:
    """Return the last line of progress (see `kd3d.console.track`) a run has logged, or ''."""
    lines = [line for line in _tail(folder / LOG_FILE) if _PROGRESS.match(line)]
    return lines[-1].strip() if lines else ""


def _tail(path: Path, size: int = 4096) -> list[str]:
    if not path.is_file():
        return []
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        text = file.read().decode("utf-8", "replace")
    return [line for line in text.splitlines() if line.strip()]


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGTERM (kill, a batch system's time limit) stop the sweep as Ctrl-C does."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold a folder against a second sweep; the system frees it when this process ends.

    Raises:
        UserError: Another process holds it.
    """
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_FILE).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise UserError(
                f"another sweep works here (process {file.read().strip() or 'unknown'})",
                folder,
                "wait for it, stop it, or choose another --out",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
