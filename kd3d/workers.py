"""Runs jobs in fresh processes of one thread each and shows how far they are."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from kd3d.console import track


def processors() -> int:
    """Return the number of processors this process may use."""
    return len(os.sched_getaffinity(0))


def run_jobs(
    make: Callable[[Any], Any], jobs: Sequence[Any], workers: int, label: str, chunk: int = 1
) -> None:
    """Call `make` on every job, in fresh processes: open3d's and torch's threads survive no fork.

    Args:
        make: A function of a module, so that a process can import it.
        jobs: What it is called on.
        workers: Processes; 1 stays in this one.
        label: Shown with the progress.
        chunk: Jobs handed over at once.
    """
    if not jobs:
        return
    if workers == 1:
        for _ in track(map(make, jobs), label, total=len(jobs)):
            pass
        return
    context = multiprocessing.get_context("spawn")
    with _one_thread_each(), context.Pool(workers, _leave_interrupts_to_parent) as pool:
        done = pool.imap_unordered(make, jobs, chunksize=chunk)
        for _ in track(done, label, total=len(jobs)):
            pass


def _leave_interrupts_to_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let child processes start with single-threaded linear algebra."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
