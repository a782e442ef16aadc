"""What a person sees of a sweep while it works: one line a run, and the time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.live import Live
from rich.table import Table

from kd3d.console import say
from kd3d.report.tables import duration
from kd3d.sweep.process import progress_line
from kd3d.sweep.runs import DONE, LOG_FILE, RUNNING, WAITING, Run

EVERY_S = 30.0
_STYLES = {"running": "bold", "done": "green", "failed": "red", "blocked": "yellow"}


class Board:
    """The state of all runs: a live table on a terminal, else a line a change and every 30 s.

    Args:
        runs: All runs of the sweep.
        at_once: How many runs work side by side.
    """

    def __init__(self, runs: list[Run], at_once: int) -> None:
        self.runs, self.at_once = runs, at_once
        self.started: dict[str, float] = {}
        self.shown = time.monotonic()
        self.live: Live | None = None

    def __enter__(self) -> Board:
        if sys.stderr.isatty():
            self.live = Live(self._table(), console=Console(stderr=True), refresh_per_second=2)
            self.live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.live is not None:
            self.live.update(self._table())
            self.live.stop()

    def changed(self, run: Run) -> None:
        """Tell that a run's state is another."""
        if run.state == RUNNING:
            self.started[run.name] = time.monotonic()
        elif run.name in self.started:
            run.seconds = time.monotonic() - self.started[run.name]
        if self.live is None:
            finished = sum(r.state not in (WAITING, RUNNING) for r in self.runs)
            state = "started" if run.state == RUNNING else self._state(run)
            say(f"[{finished}/{len(self.runs)}] {run.name}: {state}{self._left()}")

    def tick(self) -> None:
        """Show what the running ones do."""
        if self.live is not None:
            self.live.update(self._table())
        elif time.monotonic() - self.shown > EVERY_S:
            self.shown = time.monotonic()
            for run in self.runs:
                if run.state == RUNNING:
                    say(f"    {run.name}: {self._state(run)}")

    def seconds_left(self, now: Callable[[], float] = time.monotonic) -> float | None:
        """Return the estimated time to the end, from the mean of the finished; None before any."""
        known = [run.seconds for run in self.runs if run.state == DONE and run.seconds]
        if not known:
            return None
        mean = sum(known) / len(known)
        waiting = sum(run.state == WAITING for run in self.runs)
        running = [
            max(0.0, mean - (now() - self.started[run.name]))
            for run in self.runs
            if run.state == RUNNING
        ]
        lanes = max(1, min(self.at_once, waiting + len(running)))
        return max([(sum(running) + waiting * mean) / lanes, *running])

    def _left(self) -> str:
        left = self.seconds_left()
        return f", about {duration(left)} left for all" if left else ""

    def _state(self, run: Run) -> str:
        if run.state == RUNNING and not (run.folder / LOG_FILE).is_file():
            return "queued"
        if run.state == RUNNING:
            spent = duration(time.monotonic() - self.started[run.name])
            return ", ".join(filter(None, (f"running for {spent}", progress_line(run.folder))))
        if run.state == DONE:
            return "done before" if run.note else f"done in {duration(run.seconds or 0)}"
        return f"{run.state}: {run.note}" if run.note else run.state

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for run in self.runs:
            table.add_row(
                run.name, f"[{_STYLES.get(run.state, 'dim')}]{run.state}", self._state(run)
            )
        finished = sum(r.state not in (WAITING, RUNNING) for r in self.runs)
        table.add_row(f"{finished} of {len(self.runs)} runs{self._left()}")
        return table
