"""Models under corruptions: every pair of model and corruption is scored once, and kept."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kd3d.console import say
from kd3d.data.simulated import is_simulated
from kd3d.engine import provenance
from kd3d.engine.scoring import score, test_frames, torch_predictor
from kd3d.engine.subjects import Subject
from kd3d.errors import UserError
from kd3d.fileio import read_json, write_json
from kd3d.robustness.page import write_page
from kd3d.robustness.pipeline import corrupted_pipeline
from kd3d.robustness.severities import KINDS, beams_of, chosen_kinds, corruption
from kd3d.robustness.summary import choose_metric, summarise

CLEAN = "clean"
RESULTS, NUMBERS, PAGE = "results.json", "stress.json", "stress.html"


@dataclass(frozen=True)
class Plan:
    """What is scored.

    Attributes:
        only: Names of corruptions; none: all that spoil something a model reads.
        levels: Severities, of 1 to 5.
        frames: Evenly spaced frames of the test set; None: all.
        seed: Of the corruptions' draws.
        beams: Of the LiDAR; None: the data set's.
        metric: Shown in curves; None: the first of mAP_3D_moderate, NDS, mAP that there is.
    """

    only: tuple[str, ...] = ()
    levels: tuple[int, ...] = (1, 3, 5)
    frames: int | None = None
    seed: int = 0
    beams: int | None = None
    metric: str | None = None


@dataclass(frozen=True)
class _Job:
    subject: Subject
    kind: str
    level: int
    transform: dict[str, Any] | None
    fingerprint: str

    @property
    def row(self) -> dict[str, Any]:
        """What identifies the result."""
        return {"model": self.subject.name, "corruption": self.kind, "level": self.level}


def stress(subjects: list[Subject], plan: Plan, out: Path) -> dict[str, Any]:
    """Score every model clean and under every corruption; write numbers and page.

    Results are kept in ``results.json`` as they come: the same call goes on where another was
    stopped, and scores again only what changed (weights, data, frames, seed, amounts). A corruption
    of something that a model does not read is not run.

    Returns:
        What is in ``stress.json``, see `kd3d.robustness.summary.summarise`.

    Raises:
        UserError: Nothing to score, an unknown corruption or metric, or data that do not fit.
    """
    if not subjects:
        raise UserError("no model given", "stress", "name one or more run folders")
    if out.is_file():
        raise UserError("wanted a folder", out)
    inputs = tuple(dict.fromkeys(one for subject in subjects for one in subject.inputs))
    kinds = chosen_kinds(plan.only, inputs)
    beams = beams_of(subjects[0].data["type"], plan.beams) if "beams" in kinds else 0
    jobs = list(_jobs(subjects, plan, kinds, beams))
    known = {row["fingerprint"]: row for row in _kept(out / RESULTS)}
    first = {job.fingerprint: job for job in reversed(jobs)}  # equal models are scored once
    todo = [job for job in jobs if job is first[job.fingerprint] and job.fingerprint not in known]
    if len(todo) < len(first):
        say(f"{len(first) - len(todo)} of {len(first)} are scored already")
    for number, job in enumerate(todo, start=1):
        known[job.fingerprint] = _scored(job, plan, f"{number}/{len(todo)}")
        write_json(out / RESULTS, list(known.values()))
    rows = [known[job.fingerprint] | job.row for job in jobs]
    metric = choose_metric(rows, plan.metric)
    numbers = summarise(rows, kinds, metric) | {
        "models": [_facts(subject) for subject in subjects],
        "frames": rows[0]["frames"],
        "seed": plan.seed,
        "provenance": provenance.origin(),
    }
    write_json(out / NUMBERS, numbers)
    write_page(out / PAGE, numbers)
    return numbers


def _jobs(subjects: list[Subject], plan: Plan, kinds: list[str], beams: int) -> Iterator[_Job]:
    for subject in subjects:
        facts = (plan.frames,)
        yield _Job(subject, CLEAN, 0, None, subject.fingerprint(facts))
        for kind in kinds:
            if KINDS[kind].reads not in subject.inputs:
                continue
            for level in plan.levels:
                transform = corruption(kind, level, plan.seed, beams)
                pipeline = subject.config.test_dataloader.dataset.pipeline
                corrupted_pipeline(pipeline, kind, transform, subject.config.filename)
                print_of = subject.fingerprint(facts, sorted(transform.items()))
                yield _Job(subject, kind, level, transform, print_of)


def _scored(job: _Job, plan: Plan, number: str) -> dict[str, Any]:
    config, pipeline = job.subject.config, None
    if job.transform is not None:
        stock = config.test_dataloader.dataset.pipeline
        pipeline = corrupted_pipeline(stock, job.kind, job.transform, config.filename)
    dataset = test_frames(config, pipeline)
    places = range(len(dataset))
    if plan.frames is not None and plan.frames < len(dataset):
        places = np.unique(np.linspace(0, len(dataset) - 1, plan.frames).round().astype(int))
    words = f"{number} {job.subject.name}, {job.kind}" + (f" {job.level}" if job.level else "")
    started = time.monotonic()
    predict = torch_predictor(job.subject.model)
    metrics = score(config, dataset, predict, words, [int(place) for place in places])
    return job.row | {
        "amount": None if job.transform is None else job.transform["amount"],
        "metrics": metrics,
        "frames": len(places),
        "seconds": round(time.monotonic() - started, 1),
        "fingerprint": job.fingerprint,
    }


def _kept(path: Path) -> list[dict[str, Any]]:
    rows = read_json(path) if path.is_file() else []
    good = isinstance(rows, list) and all(isinstance(r, dict) and "fingerprint" in r for r in rows)
    if not good:
        raise UserError("these are no results of kd3d stress", path, "name a new folder for --out")
    return rows


def _facts(subject: Subject) -> dict[str, Any]:
    return {
        "name": subject.name,
        "role": subject.role,
        "config": str(subject.config.filename),
        "weights": str(subject.weights),
        "sha256": subject.sha256,
        "reads": list(subject.inputs),
        "data": subject.data["root"],
        "simulated": is_simulated(subject.data["root"]),
    }
