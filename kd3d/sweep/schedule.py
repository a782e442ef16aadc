"""Which run works when: each as soon as what it needs is done and there is room."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol

from kd3d.errors import UserError, user_line
from kd3d.report.record import RunRecord
from kd3d.sweep.board import Board
from kd3d.sweep.budget import epochs_of, equal_time_epochs, stretch
from kd3d.sweep.plan import Sweep
from kd3d.sweep.runs import (
    BLOCKED,
    DONE,
    FAILED,
    RUNNING,
    WAITING,
    Prepared,
    Run,
    begin,
    found,
    prepare,
    record_of,
    run_name,
    seal,
)

POLL_S = 0.2


class Executor(Protocol):
    """Where runs are executed."""

    capacity: int

    def start(self, name: str, folder: Path) -> None:
        """Start a run."""

    def finished(self) -> list[tuple[str, str | None]]:
        """Return (name, error or None) of the runs that ended since the last call."""

    def stop(self) -> None:
        """End all runs."""


class Schedule:
    """Brings all runs of a sweep to an end.

    Args:
        sweep: The sweep.
        baseline: Name of its baseline arm, or None.
        runs: All runs by name.
        prepared: Their configs, but for those with a budget, whose length is not known yet.
        command: For the records.
    """

    def __init__(
        self,
        sweep: Sweep,
        baseline: str | None,
        runs: dict[str, Run],
        prepared: dict[str, Prepared],
        command: str,
    ) -> None:
        self.sweep, self.baseline, self.command = sweep, baseline, command
        self.runs, self.prepared = runs, dict(prepared)

    def records(self) -> dict[str, RunRecord]:
        """Return the records of the runs that are done."""
        return {name: self.record(name) for name, run in self.runs.items() if run.state == DONE}

    def record(self, name: str) -> RunRecord:
        """Return the record of a finished run."""
        record = record_of(self.runs[name], self.prepared[name].spec["key"])
        if record is None:
            raise UserError("left no record", self.runs[name].folder)
        return record

    def look(self) -> None:
        """Mark what was done before."""
        for run in self.runs.values():
            needed = [self.runs[name].state for name in run.after]
            if any(state != DONE for state in needed):
                continue
            if found(run, self._prepare(run).spec["key"]) == DONE:
                run.state, run.note = DONE, "before"
                seconds = self.record(run.name).wall_time_s
                run.seconds = seconds["train"] + seconds["test"]

    def work(self, executor: Executor, board: Board) -> None:
        """Run what is missing; a failed run ends itself only, and those that need it."""
        busy = 0
        while True:
            for run in self._ready():
                if busy < executor.capacity:
                    busy += self._launch(run, executor)
                    board.changed(run)
            for name, error in executor.finished():
                busy -= 1
                run = self.runs[name]
                run.state, run.note = (FAILED, error) if error else (DONE, None)
                if not error and record_of(run, self.prepared[name].spec["key"]) is None:
                    run.state, run.note = FAILED, "left no record"
                board.changed(run)
            for run in self._block():
                board.changed(run)
            if not busy and not self._ready():
                return
            board.tick()
            time.sleep(POLL_S)

    def _ready(self) -> list[Run]:
        return [
            run
            for run in self.runs.values()
            if run.state == WAITING and all(self.runs[name].state == DONE for name in run.after)
        ]

    def _block(self) -> list[Run]:
        blocked = []
        for run in self.runs.values():
            failed = [name for name in run.after if self.runs[name].state == FAILED]
            if run.state == WAITING and failed:
                run.state, run.note = BLOCKED, f"needs {failed[0]}"
                blocked.append(run)
        return blocked

    def _launch(self, run: Run, executor: Executor) -> bool:
        """Start a run; return False where it was done before or cannot be started."""
        try:
            prepared = self._prepare(run)
            if found(run, prepared.spec["key"]) == DONE:
                run.state, run.note = DONE, "before"
                return False
            begin(run, prepared, self.command)
            executor.start(run.name, run.folder)
        except (UserError, OSError) as error:
            run.state, run.note = FAILED, user_line(error) or str(error)
            return False
        run.state = RUNNING
        return True

    def _prepare(self, run: Run) -> Prepared:
        if run.name not in self.prepared:
            self.prepared[run.name] = self._with_budget(run)
        return self.prepared[run.name]

    def _with_budget(self, run: Run) -> Prepared:
        """Build the config of a run that trains as long as another took."""
        arm = self.sweep.arms[run.arm]
        assert arm.budget is not None
        assert self.baseline is not None
        base = self.sweep.arms[self.baseline]
        baseline = self.record(run_name(self.baseline, run.student, run.seed))
        like = self.record(run_name(arm.budget.like, run.student, run.seed))
        teacher = RunRecord.load(self.sweep.teacher) if arm.budget.teacher else None  # type: ignore[arg-type]
        prepared = prepare(self.sweep, run, base)
        epochs, note = equal_time_epochs(
            epochs_of(prepared.config, arm.where), baseline, like, teacher
        )
        stretch(prepared.config, epochs)
        return seal(Prepared(prepared.config, {**prepared.spec, "note": note}))
