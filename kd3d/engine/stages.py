"""Stages: trainings one after another, each student the teacher of the next.

A config is its own last stage; ``stages`` names the ones before it as overrides of it::

    stages = [
        dict(name='beams32', override=dict(train_dataloader=..., test_dataloader=...)),
        dict(name='beams16'),
    ]

Each stage trains in ``<work_dir>/<name>``. Its student starts from its teacher's weights, as
progressive distillation from many beams to few does (Y. Wei et al., "LiDAR Distillation", ECCV
2022, section 3.4; the authors pass on the best checkpoint, here it is the last one). Between two
stages the student is measured on its own test set and gets the certificate that teachers need.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import barrier, is_main_process

from kd3d.console import say
from kd3d.core.portable import key_report
from kd3d.engine.certify import certify, device_evaluators, tell
from kd3d.engine.runner import train
from kd3d.engine.steps import Steps, fingerprint
from kd3d.errors import UserError, did_you_mean
from kd3d.fileio import write_bytes
from kd3d.models.source import build_detector, load_weights
from kd3d.teachers.certificate import certificate_path, file_sha256

STAGES, WEIGHTS = "stages", "student.pth"
# What a trained stage depends on; and what of its data loader it does not.
_DEPENDS = ("model", "train_dataloader", "train_cfg", "optim_wrapper", "param_scheduler")
_FREE = ("num_workers", "persistent_workers", "pin_memory", "prefetch_factor")


@dataclass(frozen=True)
class Stage:
    """One stage of a config.

    Attributes:
        name: Of its folder.
        override: Merged into the config as mmengine merges; none for the last stage.
        teacher: The teacher that the stage before takes the place of.
        initialise: Start the student from the teacher's weights, which must fit it.
        minimum: Metric -> lowest value of the student as the next stage's teacher.
        uncertified: Why the student may teach the next stage without having been measured.
    """

    name: str
    override: dict[str, Any] = field(default_factory=dict)
    teacher: str = "teacher"
    initialise: bool = True
    minimum: dict[str, float] = field(default_factory=dict)
    uncertified: str | None = None


def read_stages(config: Config) -> list[Stage]:
    """Return the stages of a config.

    Raises:
        UserError: Anything that is no list of stages with names of their own, or a last stage with
            an override.
    """
    given, known = config.get(STAGES), tuple(Stage.__dataclass_fields__)
    if not isinstance(given, (list, tuple)) or not all(isinstance(one, dict) for one in given):
        raise UserError(f"{given!r} is no list of stages", STAGES, "[dict(name='...'), ...]")
    stages = []
    for i, one in enumerate(given):
        where = f"{STAGES}[{i}]"
        for key in set(one) - set(known):
            raise UserError(f"unknown key {key!r}", where, did_you_mean(key, known))
        name = one.get("name")
        if not isinstance(name, str) or not name or name != Path(name).name or name[0] == ".":
            raise UserError(f"{name!r} is no name of a folder", where, "name='beams32'")
        stages.append(Stage(**one))
    names = [stage.name for stage in stages]
    if len(set(names)) < len(names):
        raise UserError(f"two stages have one name among {names}", STAGES)
    if stages[-1].override:
        raise UserError(
            "the last stage has an override",
            f"{STAGES}[{len(stages) - 1}]",
            "the config itself is the last stage: kd3d test and certify read it so",
        )
    return stages


def train_stages(config: Config, resume: bool = False) -> Path:
    """Train the stages of a config in turn; finished ones are skipped.

    Args:
        config: See `kd3d.engine.runner.load_config`.
        resume: Continue the stage that was interrupted from its newest whole checkpoint.

    Returns:
        ``<work_dir>/student.pth``, the last stage's student; its ``student_config.py`` beside it.

    Raises:
        UserError: As `kd3d.engine.runner.train` and `kd3d.engine.certify.certify`; students of
            other architectures where one starts from the other's weights; or a stage that was
            trained with other settings, data or teacher. What can be is found before the first
            stage.
    """
    stages, work = read_stages(config), Path(config.work_dir)
    configs: list[Config] = []
    for i, stage in enumerate(stages):
        configs.append(stage_config(config, stage, (stages[i - 1], configs[-1]) if i else None))
        _check(configs[-1], stage, configs[-2] if i else None, i == len(stages) - 1)
    steps = Steps(work)
    for stage, own in zip(stages, configs):
        measured = stage is not stages[-1] and stage.uncertified is None
        weights, name, key = Path(own.work_dir) / WEIGHTS, f"stage {stage.name}", _key(own)
        if steps.done.get(name, steps.done.get(f"begun: {name}")) not in (None, key):
            raise UserError(
                f"{name} was trained with other settings, data or teacher",
                own.work_dir,
                "remove this folder and those of later stages, or choose another --work-dir",
            )
        outputs = [weights, *([certificate_path(weights)] if measured else [])]
        steps.run(name, key, outputs, partial(_run, own, stage, resume, measured))
    for file in (WEIGHTS, "student_config.py") if is_main_process() else ():
        write_bytes(work / file, (work / stages[-1].name / file).read_bytes())
    return work / WEIGHTS


def stage_config(config: Config, stage: Stage, before: tuple[Stage, Config] | None) -> Config:
    """Return the whole config of one stage.

    Args:
        config: The config with ``stages``.
        stage: The stage.
        before: The stage before with its whole config; its student is the teacher.

    Raises:
        UserError: No teacher of the stage's name, or one that is not ``Frozen``.
    """
    own = copy.deepcopy(config)
    own.pop(STAGES)
    own.merge_from_dict(copy.deepcopy(stage.override))  # merging takes its _delete_ out
    own.work_dir = str(Path(config.work_dir) / stage.name)
    if own.get("quiet"):
        own.quiet = f"{own.quiet}, {stage.name}"
    teachers, where = own.model.get("teachers") or {}, f"stage {stage.name}"
    start = None if before is None else str(Path(before[1].work_dir) / WEIGHTS)
    if teachers:
        if stage.teacher not in teachers:
            hint = did_you_mean(stage.teacher, teachers)
            raise UserError(f"no teacher {stage.teacher!r}", where, hint)
        if teachers[stage.teacher].get("type", "Frozen") != "Frozen":
            kind = teachers[stage.teacher].type
            raise UserError(f"a teacher of type {kind} has no stages", where, "type='Frozen'")
        if before is not None:
            student = before[1].model.student.to_dict()
            teachers[stage.teacher] = dict(
                type="Frozen",
                checkpoint=start,
                minimum=before[0].minimum,
                allow_uncertified=before[0].uncertified is not None,
                **(student if {"config", "model"} & set(student) else {"model": student}),
            )
        start = teachers[stage.teacher].get("checkpoint")
    if stage.initialise and start is not None:
        own.load_from = start
    return own


def _check(config: Config, stage: Stage, before: Config | None, last: bool) -> None:
    """Refuse what would stop the stages half-way: weights that do not fit, nothing to measure."""
    where = f"stage {stage.name}"
    if not last and stage.uncertified is None:
        device_evaluators(config)
    if not stage.initialise or not config.get("load_from"):
        return
    model = build_detector(config.model.student, where)
    if before is None:
        load_weights(model, config.load_from, f"{where}, or set its initialise=False")
        return
    report = key_report(model.state_dict(), build_detector(before.model.student).state_dict())
    if report:
        raise UserError(
            f"the student is not of the architecture of the stage before ({report})",
            where,
            "initialise=False",
        )


def _run(config: Config, stage: Stage, resume: bool, measured: bool) -> None:
    """Train a stage, and measure its student if it is to teach."""
    weights = train(config, resume)
    barrier()  # the first process writes, all read
    if measured:
        certificate = certify(config, weights, stage.minimum)
        if is_main_process():
            tell(certificate, certificate_path(weights))
    elif stage.uncertified is not None:
        say(f"    not measured: {stage.uncertified}")


def _key(config: Config) -> str:
    """Return a hash of all that a stage's student depends on; weights count by their content."""
    parts = Config({name: config.get(name) for name in _DEPENDS}).to_dict()
    loader = parts["train_dataloader"]
    parts["train_dataloader"] = {k: v for k, v in loader.items() if k not in _FREE}
    files = [one.pop("checkpoint", None) for one in (parts["model"].get("teachers") or {}).values()]
    files.append(config.get("load_from"))
    hashes = [file_sha256(path) for path in files if path is not None and Path(path).is_file()]
    return fingerprint(parts, hashes)
