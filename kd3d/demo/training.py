"""One training of a demo, and several of them side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kd3d.console import quiet_dependencies
from kd3d.engine.experiment import record_run, test_run, train_run
from kd3d.engine.steps import Steps, fingerprint
from kd3d.models.source import resolve_detector
from kd3d.teachers.certificate import file_sha256
from kd3d.workers import run_jobs

WEIGHTS = "student.pth"


@dataclass(frozen=True)
class Training:
    """Train, test and record one model in the folder of its config; what is done is not repeated.

    Attributes:
        config: See `kd3d.engine.experiment.run_config`.
        facts: What the record says of the data.
        role: In the record.
        method: In the record.
        needs: Weights that it begins with or learns from.
        tested: False: it is trained alone, and has no record.
    """

    config: Any
    facts: dict[str, Any]
    role: str
    method: str | None = None
    needs: tuple[Path, ...] = ()
    tested: bool = True

    def work(self) -> None:
        """Do what is missing."""
        folder = Path(self.config.work_dir)
        model = resolve_detector(self.config.model.student)
        needed = [file_sha256(path) for path in self.needs]
        key = fingerprint(self.facts, self.config.to_dict(), model, needed)
        steps = Steps(folder)
        weights = [folder / WEIGHTS]
        steps.run(f"train the {self.role}", key, weights, lambda: train_run(self.config), folder)
        if self.tested:
            steps.run(f"test the {self.role}", key, [folder / "record.json"], self._test)

    def _test(self) -> None:
        test_run(self.config)
        record_run(self.config, self.role, self.method, self.facts)


def work_off(trainings: Sequence[Training], at_once: int) -> None:
    """Do trainings that do not need each other.

    Args:
        trainings: Any number.
        at_once: 1: one after another, each with all threads; more: so many processes of one thread
            each, which is faster where a small model cannot keep two cores busy.
    """
    if at_once == 1:
        for training in trainings:
            training.work()
    else:
        run_jobs(_work, trainings, at_once, "trainings side by side")


def _work(training: Training) -> None:
    quiet_dependencies()
    training.work()
