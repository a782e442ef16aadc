"""What a training leaves: stock mmdet3d checkpoints with their configs."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from torch import Tensor

from kd3d.core.portable import PEER_PREFIX, TEACHER_PREFIX, state_under, student_state
from kd3d.errors import UserError, did_you_mean
from kd3d.fileio import write_bytes, write_text
from kd3d.models.heatmap_prior import HeatmapPrior
from kd3d.models.source import detector_config, resolve_detector

STUDENT = "student"


def export_student(model: torch.nn.Module, config: Config) -> Path:
    """Write ``student.pth`` and ``student_config.py`` into the work folder.

    Online peers and moving averages are written beside them as ``<name>.pth`` and
    ``<name>_config.py``; each file is plain tensors with the stock detector's keys.
    """
    return export_state(getattr(model, "module", model).state_dict(), config)


def export_state(state: dict[str, Tensor], config: Config) -> Path:
    """Write the stock checkpoints that a distiller's whole state dict holds; see above."""
    folder = Path(config.work_dir)
    found = {STUDENT: student_state(state)}
    for name, teacher in (config.model.get("teachers") or {}).items():
        if teacher.get("type") == "Online":
            found[name] = state_under(state, f"{PEER_PREFIX}{name}.")
        elif teacher.get("type") == "EMA":
            found[name] = state_under(state, f"{TEACHER_PREFIX}{name}.")
            found[name].pop("updates")
    for name, weights in found.items():
        _write(folder / f"{name}.pth", weights, exported_detector(config, name))
    return folder / f"{STUDENT}.pth"


def exported_detector(config: Config, name: str = STUDENT) -> dict[str, Any]:
    """Return the detector's config of an exported model: the student's, a peer's, an average's.

    Raises:
        UserError: The config trains nothing of this name.
    """
    if config.model.get("type") != "Distiller":
        return config.model
    if name == STUDENT:
        return config.model.student
    teachers = config.model.get("teachers") or {}
    kind = teachers.get(name, {}).get("type")
    if kind not in ("Online", "EMA"):
        known = [STUDENT, *(n for n, t in teachers.items() if t.get("type") in ("Online", "EMA"))]
        raise UserError(f"no trained model {name!r}", config.filename, did_you_mean(name, known))
    return config.model.student if kind == "EMA" else detector_config(teachers[name])


def _write(target: Path, weights: dict[str, Tensor], detector: dict[str, Any]) -> None:
    import mmdet3d
    import mmengine

    meta = {"mmdet3d_version": mmdet3d.__version__, "mmengine_version": mmengine.__version__}
    buffer = io.BytesIO()  # torch tells of a full disk by a RuntimeError, so it does not write
    torch.save({"state_dict": weights, "meta": meta}, buffer)
    if not is_main_process():
        return
    write_bytes(target, buffer.getvalue())
    model = resolve_detector(detector)
    if (model.get("init_cfg") or {}).get("type") == HeatmapPrior.__name__:
        model.pop("init_cfg")  # unknown to stock mmdet3d, and of no use to trained weights
    stock = Config(dict(model=model))
    write_text(target.with_name(f"{target.stem}_config.py"), stock.pretty_text)
