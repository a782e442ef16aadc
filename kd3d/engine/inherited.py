"""What a run inherited from a trained detector, on file for its record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from torch import nn

from kd3d.errors import UserError
from kd3d.fileio import read_json, write_json
from kd3d.teachers.certificate import file_sha256

FILE = "inherited.json"


def settle_inheritance(config: Config, resumed: bool) -> None:
    """Leave ``model.inherit`` to a training's first start.

    Args:
        config: Of the training; its model is replaced when resumed.
        resumed: The weights come from the training's own checkpoint.

    Raises:
        UserError: ``load_from`` would overwrite what is inherited.
    """
    if not (config.get("model") or {}).get("inherit"):
        return
    if resumed:
        config.model = {key: value for key, value in config.model.items() if key != "inherit"}
    elif config.get("load_from"):
        raise UserError(
            f"load_from={config.load_from} would overwrite what the student inherits",
            "model.inherit",
            "leave one of them out",
        )


def note_inheritance(model: nn.Module, folder: str | Path) -> None:
    """Write ``inherited.json`` for a fresh start, or remove an older start's."""
    whole: Any = getattr(model, "module", model)
    found = [one.summary(whole.student) for one in getattr(whole, "inheritances", [])]
    if not is_main_process():
        return
    path = Path(folder) / FILE
    if not found:
        path.unlink(missing_ok=True)
        return
    for one in found:
        if one["checkpoint"] is not None:
            one["checkpoint_sha256"] = file_sha256(one["checkpoint"])
    write_json(path, found)


def inherited(folder: str | Path) -> dict[str, Any]:
    """Return what a run's record says of it: ``{"inherited": {...}}``, or nothing."""
    path = Path(folder) / FILE
    found = read_json(path) if path.is_file() else []
    brief = [{key: value for key, value in one.items() if key != "channels"} for one in found]
    if len(brief) == 1:
        return {"inherited": brief[0]}
    return {f"inherited {place}": one for place, one in enumerate(brief, start=1)}
