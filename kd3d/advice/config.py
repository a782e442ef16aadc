"""The config that a piece of advice comes with."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from kd3d.core.probe import inputs_of
from kd3d.data.wrapped import innermost
from kd3d.errors import UserError
from kd3d.inspection.detectors import DISTILLER
from kd3d.models.zoo import zoo

TEACHER = "teacher"
_PACKS = ("Pack3DDetInputs", "PackBranches")
# mmdet3d's metrics that need CUDA or stumble on small splits -> ours
_METRICS = {"KittiMetric": "KittiAP", "NuScenesMetric": "NuScenesAP"}


def checkpoint_of(teacher: str) -> str | None:
    """Return ``"mmdet3d::<name>"`` where mmdet3d's index has weights of a config; else None."""
    return next(
        (f"mmdet3d::{name}" for name, model in zoo().items() if model.config == teacher), None
    )


def distilled(
    student: Config,
    student_reference: str,
    teacher_reference: str,
    checkpoint: str,
    method: dict[str, Any],
) -> Config:
    """Return the student's config with a teacher and a method.

    Args:
        student: The student's whole config; not changed.
        student_reference: How it was named.
        teacher_reference: The teacher's config, by name or path.
        checkpoint: The teacher's weights.
        method: A method's config.
    """
    config = student.copy()
    model = config.model.to_dict()
    if model["type"] == DISTILLER:
        own = model["student"]
    else:
        own = dict(config=student_reference)
    teacher = dict(type="Frozen", config=teacher_reference, checkpoint=checkpoint)
    config.model = ConfigDict(
        type=DISTILLER, student=own, teachers={TEACHER: teacher}, method=dict(method)
    )
    config.pop("work_dir", None)
    return config


def adapted(config: Config) -> tuple[Config, list[str]]:
    """Return a config that trains and is scored where mmdet3d's own would stop.

    Evaluators that need CUDA become kd3d's; objects are pasted without road planes, which are no
    part of KITTI's download.

    Returns:
        A copy; and what was done, in words.
    """
    config = copy.deepcopy(config)
    return config, [*_on_any_device(config), *_without_planes(config)]


def _without_planes(config: Config) -> list[str]:
    loader = config.get("train_dataloader") or {}
    pipeline = innermost(loader["dataset"]).get("pipeline", []) if loader else []
    planes = [step for step in pipeline if step.get("use_ground_plane")]
    for step in planes:
        step["use_ground_plane"] = False
    return ["objects are pasted without road planes"] if planes else []


def _on_any_device(config: Config) -> list[str]:
    """Replace mmdet3d's evaluators in place; return what was done, in words."""
    done = []
    for split in ("val", "test"):
        given = config.get(f"{split}_evaluator")
        if not isinstance(given, dict) or given.get("type") not in _METRICS:
            continue
        ours = dict(type=_METRICS[given["type"]])
        root = innermost(config[f"{split}_dataloader"].to_dict()["dataset"]).get("data_root", "")
        if given["type"] == "KittiMetric":
            ours["label_dir"] = f"{root}training/label_2"
        else:
            ours |= dict(data_root=given["data_root"], ann_file=given["ann_file"])
        config[f"{split}_evaluator"] = ConfigDict(ours)
        done.append(f"{split}_evaluator is {ours['type']}: {given['type']} needs CUDA")
    return done


def check_inputs(config: Config, teacher: Any, name: str) -> None:
    """Refuse a training pipeline that does not pack what the teacher reads.

    Raises:
        UserError: It packs no points, or no images.
    """
    loader = config.get("train_dataloader")
    if not loader:
        raise UserError(
            "this config has no training data", name, "give a whole config, such as those of "
            "configs/baseline"
        )  # fmt: skip
    pipeline = innermost(loader.to_dict()["dataset"]).get("pipeline") or []
    packed = [t.get("keys", ()) for t in pipeline if t["type"] in _PACKS]
    for wanted in inputs_of(teacher) if packed else ():
        if wanted not in packed[-1]:
            raise UserError(
                f"the pipeline packs no {wanted!r}, which the teacher reads",
                name,
                "load both sensors under one geometry, as configs/_base_/datasets/nus-surround.py",
            )


def target(student: str, method: str, out: Path | None) -> Path:
    """Return where the config goes: `out`, or ``<student>_<method>.py`` here."""
    stem = Path(student.rpartition("::")[2]).stem
    return out or Path(f"{stem}_{method}.py")
