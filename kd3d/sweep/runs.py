"""The runs of a sweep: their configs, their keys, and what is already there of them."""

from __future__ import annotations

import functools
import os
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from kd3d.data.simulated import is_simulated
from kd3d.data.wrapped import innermost
from kd3d.engine.experiment import run_config
from kd3d.engine.mistakes import check_data
from kd3d.engine.steps import fingerprint
from kd3d.errors import UserError
from kd3d.fileio import read_json, write_json
from kd3d.models.source import resolve_detector
from kd3d.models.zoo import fetched
from kd3d.report.record import RECORD_FILE, RunRecord
from kd3d.sweep.plan import Arm, Sweep
from kd3d.teachers.certificate import file_sha256

SPEC_FILE = "run.json"
LOG_FILE = "log.txt"
WAITING, RUNNING, DONE, FAILED, BLOCKED = "waiting", "running", "done", "failed", "blocked"


@dataclass
class Run:
    """One training of a sweep.

    Attributes:
        arm: Name of the arm.
        student: Name of the student.
        seed: Its seed.
        folder: Where it works.
        after: Names of runs whose results it needs first.
        state: ``waiting``, ``running``, ``done``, ``failed`` or ``blocked`` (what it needs failed).
        note: ``before`` for a run that was found done; else the error of a failed one.
        seconds: How long this call worked on it.
    """

    arm: str
    student: str
    seed: int
    folder: Path
    after: tuple[str, ...] = ()
    state: str = WAITING
    note: str | None = None
    seconds: float | None = None

    @property
    def name(self) -> str:
        """``<arm>/<student>/seed<k>``, also its folder within the sweep's."""
        return run_name(self.arm, self.student, self.seed)


@dataclass(frozen=True)
class Prepared:
    """A run's config, and the rest its worker needs to know.

    Attributes:
        config: The whole config.
        spec: What ``run.json`` says beside the config; ``spec["key"]`` stands for everything the
            result depends on.
    """

    config: Config
    spec: dict[str, Any]


def run_name(arm: str, student: str, seed: int) -> str:
    """Return the name of a run."""
    return f"{arm}/{student}/seed{seed}"


def expand(sweep: Sweep, baseline: str | None) -> dict[str, Run]:
    """Return the runs by name, seed by seed, so that an unfinished sweep holds whole pairs."""
    runs = {}
    for seed in sweep.seeds:
        for student in sweep.students:
            for arm in sweep.arms.values():
                name = run_name(arm.name, student, seed)
                after: tuple[str, ...] = ()
                if arm.budget:
                    needed = (arm.budget.like, str(baseline))
                    after = tuple(dict.fromkeys(run_name(n, student, seed) for n in needed))
                runs[name] = Run(arm.name, student, seed, sweep.out / name, after)
    return runs


def prepare(sweep: Sweep, run: Run, arm: Arm) -> Prepared:
    """Build the config of a run.

    Args:
        sweep: The sweep.
        run: The run.
        arm: Gives config, options and method; that of the baseline for a run with a budget.

    Raises:
        UserError: A config, option, student, data or weights file that is not there or does not
            fit.
    """
    assert arm.config is not None
    try:
        with warnings.catch_warnings():  # mmengine's, again at every config
            warnings.filterwarnings("ignore", "pkg_resources is deprecated")
            config = run_config(arm.config, run.folder, sweep.data_root, run.seed)
    except UserError as error:
        raise UserError(str(error), arm.where) from error
    config.seeded_data = True  # all arms see the same order, and a resume repeats nothing
    for key, value in {**sweep.options, **arm.options}.items():
        _set(config, key, value, arm.where)
    if arm.method is not None:
        config.model.pop("method", None)
        config.merge_from_dict({"model": {"method": arm.method}})
    _set_student(config, sweep.students[run.student], arm.where)
    check_data(config, "train_dataloader", "test_dataloader")
    return Prepared(config, _spec(config, run, arm))


def _set(config: Config, key: str, value: Any, where: str) -> None:
    """Set a config key such as ``model.method.0.weight``."""
    try:
        config.merge_from_dict({key: value})
    except (KeyError, IndexError, TypeError) as error:
        raise UserError(f"cannot set {key} ({error})", where) from error


def _set_student(config: Config, student: dict[str, Any] | None, where: str) -> None:
    if config.model.get("type") != "Distiller":
        raise UserError(
            f"the model is a {config.model.get('type')}, wanted a Distiller",
            where,
            "write model=dict(type='Distiller', student=...), without teachers for a baseline",
        )
    if student is None:
        return
    if "config" in student:
        config.model.student = dict(student)
    else:
        config.model.student.update(student)


def _spec(config: Config, run: Run, arm: Arm) -> dict[str, Any]:
    methods = config.model.get("method") or []
    methods = [methods] if isinstance(methods, dict) else methods
    distilled = bool(methods or config.model.get("terms") or config.model.get("labels"))
    return {
        "name": run.name,
        "role": arm.role or ("distilled" if distilled else "baseline"),
        "method": "+".join(str(method.get("type")) for method in methods) or None,
        "seed": run.seed,
        "config": str(config.filename),
        "data": data_facts(config),
    }


def seal(prepared: Prepared) -> Prepared:
    """Add the key to a run's spec, after the last change of its config."""
    config, spec = prepared.config, prepared.spec
    content = {k: v for k, v in config.to_dict().items() if k not in ("work_dir", "quiet")}
    key = fingerprint(
        {k: v for k, v in spec.items() if k != "note"},
        content,
        resolve_detector(config.model.student, "model.student"),
        {path: _sha256(path) for path in _weights(content)},
    )
    return Prepared(config, {**spec, "key": key})


def data_facts(config: Config) -> dict[str, Any]:
    """Return what the record says about the data: root, splits, hashes of their info files."""
    facts: dict[str, Any] = {
        "root": str(config.data_root),
        "simulated": is_simulated(config.data_root),
    }
    for split, loader in (("split", "test_dataloader"), ("train_split", "train_dataloader")):
        dataset = innermost(config[loader].dataset)
        path = Path(dataset.get("data_root") or "") / dataset["ann_file"]
        facts[split] = path.stem.rsplit("_", 1)[-1]
        facts[f"{split}_infos_sha256"] = _sha256(str(path))
    return facts


def _weights(value: Any) -> list[str]:
    """Return the checkpoint files that a config names.

    Raises:
        UserError: One is not there.
    """
    found = []
    if isinstance(value, dict):
        for key, item in value.items():
            if key in ("checkpoint", "load_from") and isinstance(item, str):
                if "://" in item:
                    raise UserError("is not a local file, so it cannot be told from others", item)
                file = fetched(item)
                if not file.is_file():
                    raise UserError("file not found", item)
                found.append(str(file))
            else:
                found += _weights(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            found += _weights(item)
    return sorted(set(found))


def _sha256(path: str) -> str:
    stat = os.stat(path)
    return _sha256_of_version(path, stat.st_mtime_ns, stat.st_size)


@functools.cache
def _sha256_of_version(path: str, mtime_ns: int, size: int) -> str:
    return file_sha256(path)


def record_of(run: Run, key: str) -> RunRecord | None:
    """Return the record of a run that was finished under this key, or None."""
    if not (run.folder / RECORD_FILE).is_file():
        return None
    record = RunRecord.load(run.folder)
    return record if record.extra.get("sweep_key") == key else None


def found(run: Run, key: str) -> str:
    """Return what is there of a run: ``done``, ``begun``, ``outdated`` or ``new``.

    Raises:
        UserError: The folder holds something that is no run of a sweep.
    """
    path = run.folder / SPEC_FILE
    if not path.is_file():
        if run.folder.is_dir() and any(run.folder.iterdir()):
            raise UserError("not empty, and no run of a sweep", run.folder, "move it away")
        return "new"
    if read_json(path).get("key") != key:
        return "outdated"
    return DONE if record_of(run, key) else "begun"


def begin(run: Run, prepared: Prepared, command: str) -> None:
    """Write ``run.json``; what an earlier run under another key left is removed first."""
    if found(run, prepared.spec["key"]) == "outdated":
        shutil.rmtree(run.folder)
    more = {"command": command, "config_text": prepared.config.pretty_text}
    write_json(run.folder / SPEC_FILE, {**prepared.spec, **more})
