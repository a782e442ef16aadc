"""mmengine's runner, made safe: whole checkpoints, safe resume, clear errors."""

from __future__ import annotations

import io
import logging
import os
import sys
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.runner import Runner

from kd3d import compat
from kd3d.core.portable import student_state
from kd3d.engine.mistakes import building, check_data
from kd3d.engine.register import register_all
from kd3d.errors import UserError, did_you_mean
from kd3d.fileio import write_bytes, write_text
from kd3d.models.source import resolve_detector


class SafeRunner(Runner):
    """A runner whose checkpoints are written to a temporary name and moved into place.

    With ``quiet`` in the config, the console shows progress only; the log file has all.
    """

    def build_logger(self, *args: Any, **kwargs: Any) -> logging.Logger:
        """Build mmengine's logger; it writes to standard error, or to its file only when quiet."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.stream = sys.stderr
                if self.cfg.get("quiet"):
                    handler.setLevel(logging.ERROR)
        return logger

    def save_checkpoint(self, out_dir: str, filename: str, *args: Any, **kwargs: Any) -> None:
        """Save as mmengine does; an interrupted or failed write leaves no file under `filename`."""
        partial = f".partial-{filename}"
        try:
            super().save_checkpoint(out_dir, partial, *args, **kwargs)
            os.replace(Path(out_dir) / partial, Path(out_dir) / filename)
        finally:
            (Path(out_dir) / partial).unlink(missing_ok=True)


def load_config(
    path: str | Path,
    options: list[str] | None = None,
    work_dir: str | None = None,
    data_root: str | Path | None = None,
) -> Config:
    """Read a config, apply ``key=value`` options and set the work folder.

    Args:
        path: A Python config in mmengine's style.
        options: ``model.terms.0.weight=2`` and the like.
        work_dir: Where to write; default ``work_dirs/<config name>``.
        data_root: The prepared data set, instead of the config's ``data_root``.

    Raises:
        UserError: Missing or broken config, or a malformed option.
    """
    from mmengine.config import DictAction

    if not Path(path).is_file():
        near = (
            sorted(str(p) for p in Path("configs").rglob("*.py"))
            if Path("configs").is_dir()
            else []
        )
        raise UserError("no such config", path, did_you_mean(str(path), near) if near else None)
    try:
        config = Config.fromfile(str(path))
    except Exception as error:  # a config is a program: anything can go wrong in it
        raise UserError(
            f"the config cannot be read ({type(error).__name__}: {error})", path
        ) from error
    if "type" not in (config.get("model") or {}):
        raise UserError("the config has no model with a type", path)
    for option in options or []:
        key, equals, value = option.partition("=")
        if not equals or not key:
            raise UserError(f"{option!r} is not key=value", "--cfg-options")
        try:
            config.merge_from_dict({key: DictAction._parse_iterable(value)})
        except (KeyError, IndexError, TypeError) as error:
            raise UserError(f"cannot set {key} ({error})", "--cfg-options") from error
    if data_root is not None:
        set_data_root(config, data_root)
    config.work_dir = work_dir or config.get("work_dir") or f"work_dirs/{Path(path).stem}"
    return config


def set_data_root(config: Config, root: str | Path) -> None:
    """Point every path of a config that starts with its ``data_root`` to another folder."""
    old, new = config.data_root, str(root).rstrip("/") + "/"

    def moved(value: Any) -> Any:
        if isinstance(value, str):
            return new + value[len(old) :] if value.startswith(old) else value
        if isinstance(value, dict):
            return {key: moved(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(moved(item) for item in value)
        return value

    for key in list(config.keys()):
        config[key] = moved(config[key])


def make_runner(config: Config) -> SafeRunner:
    """Build the runner of a config, with everything of kd3d and mmdet3d registered."""
    from mmdet3d.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    register_all()
    compat.allow_resume()
    config.setdefault("default_scope", "mmdet3d")
    checkpoint = config.setdefault("default_hooks", {}).setdefault(
        "checkpoint", dict(type="CheckpointHook", interval=1)
    )
    if checkpoint["type"] == "CheckpointHook":
        checkpoint["type"] = "SafeCheckpointHook"
    with building(config):
        return SafeRunner.from_cfg(config)


def train(config: Config, resume: bool = False) -> Path:
    """Train a config and export the student.

    Args:
        config: See `load_config`.
        resume: Continue from the last checkpoint in the work folder, if there is one.

    Returns:
        ``<work_dir>/student.pth``, plain tensors with the stock detector's keys; beside it
        ``student_config.py`` with the stock model dict.
    """
    config = config.copy()
    config.resume = resume
    ours = [dict(type="ProgressHook", label=config.get("quiet"))]
    if config.get("reseed_every_epoch"):
        ours.append(dict(type="EpochSeedHook"))
    names = [hook["type"] for hook in ours]
    others = [hook for hook in config.get("custom_hooks", []) if hook["type"] not in names]
    config.custom_hooks = [*others, *ours]
    check_data(config, "train_dataloader", "val_dataloader")
    runner = make_runner(config)
    with building(config):  # what the runner would build at the start of its training
        runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
        _ = runner.train_loop
    runner.train()
    return export_student(runner.model, config)


def test(config: Config, checkpoint: str | Path) -> dict[str, float]:
    """Evaluate a checkpoint on the config's test set; teachers are neither built nor needed."""
    config = config.copy()
    config.resume = False
    if config.model.get("type") == "Distiller":
        config.model = dict(type="Distiller", student=config.model.student)
    for unused in (
        "train_dataloader",
        "train_cfg",
        "optim_wrapper",
        "param_scheduler",
        "val_dataloader",
        "val_cfg",
        "val_evaluator",
    ):
        config.pop(unused, None)
    config.load_from = None
    check_data(config, "test_dataloader")
    runner = make_runner(config)
    load_student(runner.model, checkpoint)
    return runner.test()


def load_student(model: torch.nn.Module, checkpoint: str | Path) -> None:
    """Load a student's or distiller's checkpoint into a distiller or stock detector, strictly."""
    from kd3d.models.source import load_weights

    load_weights(getattr(model, "student", model), checkpoint)


def export_student(model: torch.nn.Module, config: Config) -> Path:
    """Write ``student.pth`` and ``student_config.py`` into the work folder."""
    import mmdet3d
    import mmengine

    model = getattr(model, "module", model)
    state = student_state(model.state_dict())
    meta = {"mmdet3d_version": mmdet3d.__version__, "mmengine_version": mmengine.__version__}
    target = Path(config.work_dir) / "student.pth"
    buffer = io.BytesIO()  # torch tells of a full disk by a RuntimeError, so it does not write
    torch.save({"state_dict": state, "meta": meta}, buffer)
    if not is_main_process():
        return target
    write_bytes(target, buffer.getvalue())
    student = config.model.student if config.model.get("type") == "Distiller" else config.model
    stock = Config(dict(model=resolve_detector(student)))
    write_text(target.with_name("student_config.py"), stock.pretty_text)
    return target
