"""From two configs to a ranked list, a written config and what it costs on this machine."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS

from kd3d.advice import config as written
from kd3d.advice.facts import Facts, Side
from kd3d.advice.fit import Fit, fits
from kd3d.advice.rank import Ranked, rank
from kd3d.advice.record import record_of
from kd3d.advice.shared import inherit_hint, shared_parts
from kd3d.console import say
from kd3d.data.labelled import PartlyLabelled
from kd3d.data.wrapped import layers
from kd3d.doctor import Verdict, healthy
from kd3d.engine.certify import device_evaluators
from kd3d.engine.mistakes import building
from kd3d.engine.register import register_all
from kd3d.engine.runner import load_config
from kd3d.errors import UserError
from kd3d.inspection.check import accepted, check
from kd3d.inspection.detectors import DISTILLER, detectors
from kd3d.inspection.step import cost
from kd3d.inspection.trial import build_distiller, first_batches
from kd3d.methods import cards
from kd3d.models.source import build_detector
from kd3d.models.stock import write_config
from kd3d.models.zoo import checkpoint_file, zoo_model
from kd3d.teachers.certificate import certificate_path, certify_command


@dataclass(frozen=True)
class Cost:
    """What a step costs on this machine.

    Attributes:
        seconds: Forward and backward pass.
        peak_bytes: Of the process, or the GPU's tensors.
    """

    seconds: float
    peak_bytes: int


@dataclass
class Advice:
    """What is advised.

    Attributes:
        student: One side.
        teacher: The other.
        facts: Of the pair.
        ranked: Methods that run, best first.
        unfit: Methods that do not run.
        refused: Methods that ranked higher than the chosen one but could not be built, and why.
        chosen: The best that was built and checked; None: nothing was tried.
        path: The written config.
        notes: What was changed or must be done.
        verdicts: Of the check of the written config.
        alone: Cost of the student's own step.
        together: Cost of the distilled one.
        steps: Steps of the whole training; None where the config does not tell.
    """

    student: Side
    teacher: Side
    facts: Facts
    ranked: list[Ranked]
    unfit: list[Fit]
    refused: dict[str, str] = field(default_factory=dict)
    chosen: Ranked | None = None
    path: Path | None = None
    notes: list[str] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    alone: Cost | None = None
    together: Cost | None = None
    steps: int | None = None


def look_at(student: Config, teacher: Config) -> Advice:
    """Return facts, ranking and refusals of a pair; nothing is trained or written."""
    register_all()
    one, other = (
        build_detector(detectors(config)["student"], where)
        for config, where in ((student, "student"), (teacher, "teacher"))
    )
    ours, theirs = Side.of(one), Side.of(other)
    facts = Facts.of(ours, theirs, labels_of(student))
    found = fits(cards().values(), ours.offer, theirs.offer)
    ranked = rank(found, facts, lambda name: record_of(name, ours.sensors))
    unfit = [fit for fit in found if fit.reason is not None]
    parts = shared_parts(one, other, ours, theirs)
    return Advice(ours, theirs, facts, ranked, unfit, notes=[inherit_hint(parts)] if parts else [])


def labels_of(config: Config) -> str:
    """Return whether ``all`` or ``some`` training frames are labelled; ``unknown`` without data."""
    dataset = (config.get("train_dataloader") or {}).get("dataset")
    if dataset is None:
        return "unknown"
    some = any(
        one["type"] == PartlyLabelled.__name__ and one.get("unlabelled", True)
        for one in layers(dataset)
    )
    return "some" if some else "all"


def write_and_try(
    advice: Advice,
    student: Config,
    short: Config | None,
    references: tuple[str, str],
    checkpoint: str | None,
    out: Path | None,
) -> None:
    """Write the config of the best method that can be built, check it and measure a step.

    Args:
        advice: Of `look_at`; filled in.
        student: The student's whole config, from which the new one is made.
        short: The same with a few simulated frames, for the short run; None: run on its own data.
        references: How student and teacher were named.
        checkpoint: The teacher's weights; None: mmdet3d's own of that config, or none yet.
        out: The file to write.

    Raises:
        UserError: No method runs, or the data do not give what both models read.
    """
    if not advice.ranked:
        raise UserError("no method runs on this pair", " and ".join(references), "kd3d taps")
    name, teacher = references
    weights = checkpoint or written.checkpoint_of(teacher)
    weights = weights or f"work_dirs/{Path(teacher.rpartition('::')[2]).stem}/student.pth"
    untrained = not checkpoint_file(weights).is_file()
    if untrained:
        way = "they are fetched when training starts" if zoo_model(weights) else "train it first"
        advice.notes.append(
            f"checked with random weights: {weights} is not on this machine; {way}, or give "
            "--checkpoint"
        )
    if untrained or not certificate_path(weights).is_file():
        advice.notes.append(f"a teacher needs a certificate: {certify_command(weights, teacher)}")
        advice.notes += lacking_evaluator(teacher)
    student, done = written.adapted(student)
    advice.notes += done
    short = None if short is None else written.adapted(short)[0]
    say("timing a step of the student alone ...")
    batch = first_batches(short or student)[-1]
    alone = build_distiller(_alone(student), untrained=True)
    cost(alone, batch)  # warms up
    advice.alone = Cost(*cost(alone, batch))
    for one in advice.ranked:
        parts = (name, teacher, weights, one.fit.method)
        config = written.distilled(student, *parts)
        tried = config if short is None else written.distilled(short, *parts)
        say(f"checking {one.fit.name} ...")
        try:
            found = check(accepted(tried)[0], untrained)
        except UserError as error:
            advice.refused[one.fit.name] = str(error)
            continue
        advice.chosen, advice.verdicts = one, found.verdicts
        advice.together = Cost(found.seconds, found.peak_bytes)
        advice.steps = steps_of(config) if short is None else None
        advice.path = written.target(name, one.fit.name, out)
        why = f"{one.points:g} points; written by kd3d advise {name} {teacher}"
        write_config(advice.path, config, f"{one.fit.name}: {why}")
        return
    raise UserError(
        f"none of {len(advice.ranked)} methods could be built", name,
        next(iter(advice.refused.values())),
    )  # fmt: skip


def lacking_evaluator(teacher: str) -> list[str]:
    """Return what a teacher's config needs before its certificate: none for one of kd3d's."""
    try:
        device_evaluators(load_config(teacher))
    except UserError as error:
        return [f"before that: {error}"]
    return []


def sound(advice: Advice) -> bool:
    """Whether the written config passed its check."""
    return bool(advice.verdicts) and healthy(advice.verdicts)


def _alone(student: Config) -> Config:
    config = student.copy()
    if config.model["type"] == DISTILLER:
        config.model = {"type": DISTILLER, "student": config.model.student}
    return config


def steps_of(config: Config) -> int | None:
    """Return how many steps a training has, None where the config does not tell."""
    loop: dict[str, Any] = config.get("train_cfg") or {}
    if loop.get("max_iters"):
        return int(loop["max_iters"])
    if not loop.get("max_epochs"):
        return None
    loader = config.train_dataloader.to_dict()
    with DATASETS.switch_scope_and_registry("mmdet3d") as registry, building(config):
        frames = len(registry.build(loader["dataset"]))  # wrappers repeat and leave out
    whole = math.floor if loader.get("drop_last") else math.ceil
    return loop["max_epochs"] * whole(frames / loader["batch_size"])
