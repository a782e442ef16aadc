"""What a run leaves behind: `record.json` beside its predictions and training log."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from kd3d.errors import UserError, did_you_mean
from kd3d.fileio import read_json, write_json
from kd3d.report.benchmarks import Benchmark, benchmark_of
from kd3d.report.benchmarks.values import is_number

ROLES = ("teacher", "baseline", "distilled")
RECORD_FILE = "record.json"
PREDICTIONS = "predictions"
SCALARS_FILE = "scalars.json"


@dataclass
class RunRecord:
    """One trained and evaluated model. `None` means "not measured" and is shown as such.

    Attributes:
        name: Short unique name, e.g. ``"student-fitnets"``.
        role: ``"teacher"``, ``"baseline"`` (student without distillation) or ``"distilled"``.
        result: That of `kd3d.evaluation.kitti_ap.evaluate_kitti` or of
            `kd3d.evaluation.nuscenes_score.evaluate_nuscenes`; notes and curves optional.
        data: ``{"root": str, "simulated": bool, "split": str}`` and whatever else tells one data
            set from another (frames, train_split, manifest seed); equal in fair comparisons.
        seed: Seed of initialisation and data order.
        iterations: Optimizer steps.
        batch_size: Frames a step.
        method: Distillation method, e.g. ``"response+fitnets"``.
        config: The configuration file.
        config_text_sha256: Hash of the configuration's full text.
        wall_time_s: ``{"train": s, "test": s}``.
        step_time_s: Median time of one training step.
        params: Number of parameters of the deployed model.
        macs: Multiply-accumulates of one frame (a FLOP count is about twice this).
        latency_ms: ``{"median": ms, "threads": n}`` of one frame on the CPU.
        checkpoint_bytes: Size of the exported checkpoint.
        checkpoint_sha256: Its hash.
        versions: Package name to version.
        commit: kd3d's commit.
        dirty: Whether the working tree differed from the commit.
        machine: ``{"cpu": str, "cores": n, "memory_gb": x}``.
        command: The command that made the run.
        started: ISO 8601 time.
        supervision: The labels training saw, e.g. ``"3D boxes"``. What a teacher adds is not
            named here: the field must be equal in fair comparisons.
        teacher: Certificate of the teacher this run learned from.
        budget_note: Free text about the budget.
        recipe: Hashes of what else must be equal in fair comparisons: the pipelines of training and
            test, the optimizer, how boxes are decoded and suppressed.
        extra: Further values for the provenance table.
        folder: Where the record was loaded from; not saved.
    """

    name: str
    role: str
    result: dict[str, Any]
    data: dict[str, Any]
    seed: int
    iterations: int
    batch_size: int
    method: str | None = None
    config: str | None = None
    config_text_sha256: str | None = None
    wall_time_s: dict[str, float] = field(default_factory=dict)
    step_time_s: float | None = None
    params: int | None = None
    macs: int | None = None
    latency_ms: dict[str, float] | None = None
    checkpoint_bytes: int | None = None
    checkpoint_sha256: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    commit: str | None = None
    dirty: bool | None = None
    machine: dict[str, Any] = field(default_factory=dict)
    command: str | None = None
    started: str | None = None
    supervision: str | None = None
    teacher: dict[str, Any] | None = None
    budget_note: str | None = None
    recipe: dict[str, str] | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None

    def __post_init__(self) -> None:
        _validate(self)

    @property
    def benchmark(self) -> Benchmark:
        """The benchmark that the result is from."""
        return benchmark_of(self.result)

    @property
    def classes(self) -> list[str]:
        """The evaluated classes in the result's order."""
        return self.benchmark.classes(self.result)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, without the folder."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "folder"}

    @classmethod
    def from_dict(cls, values: Any, where: object = "record") -> RunRecord:
        """Build from the JSON form.

        Raises:
            UserError: Missing, unknown or malformed fields; `where` is named.
        """
        if not isinstance(values, dict):
            raise UserError("a record is a JSON object", where)
        known = {f.name for f in fields(cls)} - {"folder"}
        for key in values:
            if key not in known:
                raise UserError(f"unknown field {key!r}", where, did_you_mean(key, known))
        required = ("name", "role", "result", "data", "seed", "iterations", "batch_size")
        missing = [key for key in required if key not in values]
        if missing:
            raise UserError(f"fields missing: {', '.join(missing)}", where)
        try:
            return cls(**values)
        except UserError as error:
            raise UserError(str(error), where) from None

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write `record.json` into a run folder and return its path."""
        _validate(self)
        path = Path(folder) / RECORD_FILE
        write_json(path, self.to_dict())
        return path

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> RunRecord:
        """Read the record of a run folder.

        Raises:
            UserError: No such folder, no record in it, or a malformed one.
        """
        path = Path(folder) / RECORD_FILE
        if not path.is_file():
            problem = f"no {RECORD_FILE} in it" if Path(folder).is_dir() else "no such run folder"
            raise UserError(problem, folder, "a run folder is made by 'kd3d demo'")
        record = cls.from_dict(read_json(path), path)
        record.folder = Path(folder)
        return record


_NUMBER = (int, float)
_TYPES: dict[str, tuple[tuple[type, ...], str, bool]] = {  # field: types, said as, may be None
    "name": ((str,), "text", False),
    "role": ((str,), "text", False),
    "result": ((dict,), "an object", False),
    "data": ((dict,), "an object", False),
    "seed": ((int,), "a whole number", False),
    "iterations": ((int,), "a whole number", False),
    "batch_size": ((int,), "a whole number", False),
    "wall_time_s": ((dict,), "an object", False),
    "versions": ((dict,), "an object", False),
    "machine": ((dict,), "an object", False),
    "extra": ((dict,), "an object", False),
    "teacher": ((dict,), "an object", True),
    "recipe": ((dict,), "an object", True),
    "latency_ms": ((dict,), "an object", True),
    "step_time_s": (_NUMBER, "a number", True),
    "params": ((int,), "a whole number", True),
    "macs": ((int,), "a whole number", True),
    "checkpoint_bytes": ((int,), "a whole number", True),
    "dirty": ((bool,), "true or false", True),
}
_TEXTS = (
    "method", "config", "config_text_sha256", "checkpoint_sha256", "commit", "command", "started",
    "supervision", "budget_note",
)  # fmt: skip
_TYPES.update(dict.fromkeys(_TEXTS, ((str,), "text", True)))


def _validate(record: RunRecord) -> None:
    for key, (types, said, optional) in _TYPES.items():
        value = getattr(record, key)
        if value is None and optional:
            continue
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise UserError(f"{key} is {value!r}, wanted {said}")
    if not record.name.strip():
        raise UserError("name is empty")
    if record.role not in ROLES:
        raise UserError(f"unknown role {record.role!r}", None, did_you_mean(record.role, ROLES))
    for key, wanted in (("root", str), ("split", str), ("simulated", bool)):
        if not isinstance(record.data.get(key), wanted):
            raise UserError(f"data.{key} is {record.data.get(key)!r}, wanted a {wanted.__name__}")
    if record.latency_ms is not None and not {"median", "threads"} <= set(record.latency_ms):
        raise UserError("latency_ms needs the keys median and threads")
    for group in ("wall_time_s", "latency_ms"):
        for key, value in (getattr(record, group) or {}).items():
            if not is_number(value):
                raise UserError(f"{group}.{key} is {value!r}, wanted a number")
    notes = record.result.get("notes", [])
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise UserError("result.notes is not a list of texts")
    record.benchmark.validate(record.result)
    _refuse_not_finite(record.to_dict(), "")


def _refuse_not_finite(value: Any, where: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{where.lstrip('.')} is not finite")
    if isinstance(value, dict):
        for key, item in value.items():
            _refuse_not_finite(item, f"{where}.{key}")
    if isinstance(value, list | tuple):
        for item in value:
            _refuse_not_finite(item, where)


def slug(name: str) -> str:
    """Return a name that is safe in ids and file names."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "run"
