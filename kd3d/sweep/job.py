"""A sweep from its file to its report."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kd3d.console import say
from kd3d.engine import provenance
from kd3d.engine.experiment import benchmark_of_config
from kd3d.errors import UserError, did_you_mean
from kd3d.fileio import write_json
from kd3d.report.benchmarks import BENCHMARKS
from kd3d.report.record import RunRecord
from kd3d.sweep.board import Board
from kd3d.sweep.budget import epochs_of
from kd3d.sweep.plan import Sweep, read_sweep
from kd3d.sweep.process import LocalExecutor, lock, stoppable
from kd3d.sweep.runs import DONE, RUNNING, WAITING, Prepared, Run, expand, found, prepare, seal
from kd3d.sweep.schedule import Executor, Schedule
from kd3d.sweep.summary import sweep_json

EXECUTORS = ("local", "ray")


class SweepJob:
    """A checked sweep, ready to be shown or worked off.

    Args:
        file: The sweep file.
        out: Instead of the file's ``out``.
        data_root: Instead of the file's ``data_root``.
        only: Arms to work on, with those whose time they are given; empty: all. What is done of
            the others counts as usual.

    Raises:
        UserError: A mistake in the file, a config, a student, data or weights that do not fit;
            nothing is written then.
    """

    def __init__(
        self,
        file: str | Path,
        out: str | Path | None = None,
        data_root: str | Path | None = None,
        only: Sequence[str] = (),
    ) -> None:
        self.sweep = read_sweep(file, out, data_root)
        self.command = provenance.command()
        if self.sweep.teacher is not None:
            RunRecord.load(self.sweep.teacher)
        prepared = _prepare_all(self.sweep)
        _check_metric(self.sweep, prepared)
        self.baseline = _baseline(self.sweep, prepared)
        self.runs = expand(self.sweep, self.baseline)
        self.schedule = Schedule(self.sweep, self.baseline, self.runs, prepared, self.command)
        self.schedule.look()
        for name, one in prepared.items():
            found(self.runs[name], one.spec["key"])  # refuses folders that are no runs
        if only:
            wanted = self._with_needed(only)
            for name, run in list(self.runs.items()):
                if run.arm not in wanted and run.state != DONE:
                    del self.runs[name]

    def _with_needed(self, only: Sequence[str]) -> set[str]:
        """Return the named arms and those that their budgets need."""
        wanted = set()
        for name in only:
            if name not in self.sweep.arms:
                raise UserError(
                    f"no arm {name!r}",
                    f"{self.sweep.file}, --only",
                    did_you_mean(name, self.sweep.arms),
                )
            budget = self.sweep.arms[name].budget
            wanted |= {name} | ({budget.like, str(self.baseline)} if budget else set())
        return wanted

    def plan(self) -> list[tuple[str, str]]:
        """Return (run, what would be done with it)."""
        said = {
            DONE: "done",
            "begun": "go on from its last checkpoint",
            "outdated": "anew: its config, data or weights have changed",
            "new": "new",
        }
        rows = []
        for name, run in self.runs.items():
            one = self.schedule.prepared.get(name)
            if one is None:
                rows.append((name, f"after {' and '.join(run.after)}"))
            else:
                rows.append((name, said[found(run, one.spec["key"])]))
        return rows

    def work(
        self,
        executor: str = "local",
        jobs: int | None = None,
        threads: int | None = None,
        address: str | None = None,
    ) -> dict[str, Any]:
        """Run what is missing, and write ``sweep.json`` and the report pages.

        Args:
            executor: ``local`` processes or ``ray``.
            jobs: How many runs at once; local: 1 where it is None.
            threads: CPU threads of a run; None: its share of the machine.
            address: Of a Ray cluster.

        Returns:
            The content of ``sweep.json``.

        Raises:
            UserError: Another sweep works in this folder, or the executor is not to be had.
        """
        with lock(self.sweep.out):
            where = make_executor(executor, jobs, threads, address)
            try:  # Ray sets a SIGTERM handler of its own, so ours comes after it
                with stoppable(), Board(list(self.runs.values()), where.capacity) as board:
                    self.schedule.work(where, board)
            finally:
                where.stop()
                for run in self.runs.values():
                    if run.state == RUNNING:
                        run.state = WAITING
                numbers = self._save()
            self._report(numbers)
        return numbers

    def _save(self) -> dict[str, Any]:
        records = self.schedule.records()
        numbers = sweep_json(self.sweep, self.baseline, self.runs, records, self.command)
        write_json(self.sweep.out / "sweep.json", numbers)
        commits = {(r.commit, r.dirty) for r in records.values()}
        if len(commits) > 1:
            shown = ", ".join(f"{c}{' changed' if d else ''}" for c, d in sorted(commits, key=str))
            say(f"kd3d: the runs were made by different code ({shown})")
        return numbers

    def _report(self, numbers: dict[str, Any]) -> None:
        """Write a page a student about the first seed that has most arms done."""
        from kd3d.report.page import write_report

        for student in self.sweep.students:
            done = [r for r in self.runs.values() if r.student == student and r.state == DONE]
            if not done:
                continue
            counts = [sum(run.seed == seed for run in done) for seed in self.sweep.seeds]
            seed = self.sweep.seeds[counts.index(max(counts))]
            folders = [
                run.folder for run in _baseline_first(done, self.baseline) if run.seed == seed
            ]
            if self.sweep.teacher is not None:
                folders.insert(0, self.sweep.teacher)
            suffix = f"-{student}" if len(self.sweep.students) > 1 else ""
            page = self.sweep.out / f"report{suffix}.html"
            title = f"Sweep {self.sweep.file.stem}, {student}: seed {seed} of {len(counts)}"
            write_report(
                folders,
                page,
                title,
                spread=seed_spread(numbers, student, self.baseline),
                data_root=self.sweep.data_root,
                allow_unequal=True,  # arms of other budgets stand beside
            )
            say(f"kd3d: wrote {page}")


def _prepare_all(sweep: Sweep) -> dict[str, Prepared]:
    """Return the configs of all runs whose length is known, by name."""
    prepared = {}
    for name, run in expand(sweep, sweep.baseline).items():
        arm = sweep.arms[run.arm]
        if arm.budget is None:
            prepared[name] = seal(prepare(sweep, run, arm))
    return prepared


def _check_metric(sweep: Sweep, prepared: dict[str, Prepared]) -> None:
    """Refuse a metric that the runs' evaluator does not give."""
    if sweep.metric is None or not prepared:
        return
    benchmark = benchmark_of_config(next(iter(prepared.values())).config)
    keys = [metric.key for metric in benchmark.metrics]
    if sweep.metric not in keys:
        raise UserError(
            f"{sweep.metric!r} is no metric of {benchmark.title}", f"{sweep.file}, metric",
            f"one of {', '.join(keys)}",
        )  # fmt: skip


def _baseline(sweep: Sweep, prepared: dict[str, Prepared]) -> str | None:
    """Return the arm that all others are compared with.

    Raises:
        UserError: Budgets are given and there is no baseline, or its schedule cannot be stretched.
    """
    roles = {
        arm: next(p.spec["role"] for name, p in prepared.items() if name.startswith(f"{arm}/"))
        for arm, one in sweep.arms.items()
        if not one.budget
    }
    name = sweep.baseline or next((arm for arm, role in roles.items() if role == "baseline"), None)
    timed = next((arm for arm in sweep.arms.values() if arm.budget), None)
    if timed is not None:
        if name is None:
            raise UserError("a budget needs a baseline arm", timed.where, "add one without method")
        first = next(p for run, p in prepared.items() if run.startswith(f"{name}/"))
        epochs_of(first.config, timed.where)
    return name


def _baseline_first(runs: list[Run], baseline: str | None) -> list[Run]:
    return sorted(runs, key=lambda run: run.arm != baseline)


def seed_spread(
    numbers: dict[str, Any], student: str, baseline: str | None
) -> dict[str, dict[str, Any]] | None:
    """Return the seeds' spread of the gain over the baseline, for the page's verdict.

    Several arms are pooled (root of the mean variance); None without two pairs.
    """
    table: dict[str, dict[str, Any]] = {}
    for metric in BENCHMARKS[numbers["benchmark"]].metrics:
        key = metric.key
        gains = [
            row["scores"][key]
            for row in numbers["gains"]
            if row["student"] == student and row["over"] == baseline and row["scores"][key]
        ]
        gains = [gain for gain in gains if gain["sd"] is not None]
        if not gains:
            continue
        sd = math.sqrt(statistics.fmean([gain["sd"] ** 2 for gain in gains]))
        n = min(gain["n"] for gain in gains)
        arms = f", {len(gains)} arms pooled" if len(gains) > 1 else ""
        table[key] = {"sd": sd, "n": n, "source": f"{n} seeds of this sweep{arms}, sweep.json"}
    return table or None


def make_executor(
    name: str, jobs: int | None, threads: int | None, address: str | None
) -> Executor:
    """Return the executor of this name.

    Raises:
        UserError: An unknown name, Ray is missing, or its cluster does not answer.
    """
    if name not in EXECUTORS:
        raise UserError(f"unknown executor {name!r}", "--executor", did_you_mean(name, EXECUTORS))
    if name == "ray":
        from kd3d.sweep.ray_executor import RayExecutor

        return RayExecutor(jobs, threads, address)
    if address is not None:
        raise UserError("an address is for Ray", "--address", "add --executor ray")
    return LocalExecutor(jobs or 1, threads)
