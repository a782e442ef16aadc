"""mmengine's runner, made safe: whole checkpoints, safe resume, clear errors."""

from __future__ import annotations

import copy
import logging
import os
import sys
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import get_rank, is_main_process
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmengine.runner.checkpoint import _load_checkpoint_to_model as load_into_model
from torch.utils.data import DataLoader

from kd3d import compat
from kd3d.cache.check import check_stores
from kd3d.core.portable import key_report
from kd3d.data.views import seeded_dataloader
from kd3d.engine.distributed import set_up
from kd3d.engine.export import export_student, exported_detector
from kd3d.engine.inherited import note_inheritance
from kd3d.engine.mistakes import building, check_data
from kd3d.engine.register import register_all
from kd3d.engine.resume import PARTIAL, settle
from kd3d.engine.scaled import ScaledRunner
from kd3d.errors import UserError, did_you_mean
from kd3d.fileio import write_json

TRAINED_FILE = "trained.json"  # in the work folder: how many steps a training has taken


class SafeRunner(ScaledRunner):
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

    @staticmethod
    def build_dataloader(
        dataloader: Any, seed: int | None = None, diff_rank_seed: bool = False
    ) -> DataLoader:
        """Build as mmengine does; seeded data get the run's seed, the same one on every rank."""
        if isinstance(dataloader, dict) and dataloader["dataset"].get("type") == "SeededViews":
            assert seed is not None, "a runner has a seed"
            common = seed - get_rank() if diff_rank_seed else seed
            dataloader = copy.deepcopy(dataloader)
            dataloader["dataset"].setdefault("seed", common)
            dataloader["sampler"].setdefault("seed", common)
        return Runner.build_dataloader(dataloader, seed, diff_rank_seed)

    def save_checkpoint(self, out_dir: str, filename: str, *args: Any, **kwargs: Any) -> None:
        """Save as mmengine does; an interrupted or failed write leaves no file under `filename`."""
        if not is_main_process():
            self.take_part_in_saving()
            return
        partial = Path(out_dir) / (PARTIAL + filename)
        try:
            super().save_checkpoint(out_dir, partial.name, *args, **kwargs)
            with open(partial, "rb+") as file:
                os.fsync(file.fileno())  # a power cut must not leave an empty file, either
            os.replace(partial, partial.with_name(filename))
        finally:
            partial.unlink(missing_ok=True)

    def load_checkpoint(
        self,
        filename: str,
        map_location: Any = "cpu",
        strict: bool = False,
        revise_keys: list = [(r"^module\.", "")],  # noqa: B006
    ) -> dict[str, Any]:
        """Load as mmengine does, but safely; a training resumes from its own model only.

        Raises:
            UserError: An address instead of a file, an unreadable or unsafe file, or, when
                resuming, weights of another model.
        """
        if "://" in filename:
            raise UserError("only files are loaded", filename, "download it and give its path")
        checkpoint = compat.load_checkpoint_file(filename)
        model = self.model.module if is_model_wrapper(self.model) else self.model
        if self._resume:
            report = key_report(model.state_dict(), checkpoint["state_dict"])
            if report:
                raise UserError(
                    f"belongs to another model ({report})", filename, "choose another --work-dir"
                )
        self.call_hook("after_load_checkpoint", checkpoint=checkpoint)
        load_into_model(model, checkpoint, strict, revise_keys=revise_keys)
        self._has_loaded = True
        self.logger.info(f"Load checkpoint from {filename}")
        return checkpoint


def load_config(
    path: str | Path,
    options: list[str] | None = None,
    work_dir: str | None = None,
    data_root: str | Path | None = None,
) -> Config:
    """Read a config, apply ``key=value`` options and set the work folder.

    Args:
        path: A Python config in mmengine's style; also ``kd3d::...`` or ``mmdet3d::...``, see
            `kd3d.models.source.config_path`.
        options: ``model.terms.0.weight=2`` and the like.
        work_dir: Where to write; default ``work_dirs/<config name>``.
        data_root: The prepared data set, instead of the config's ``data_root``.

    Raises:
        UserError: Missing or broken config, or a malformed option.
    """
    from mmengine.config import DictAction

    from kd3d.models.source import config_path

    if "::" in str(path):
        path = config_path(str(path))
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
    set_up(config)
    with building(config):
        return SafeRunner.from_cfg(config)


def train(config: Config, resume: bool = False) -> Path:
    """Train a config and export the student; one with ``stages`` by `kd3d.engine.stages`.

    Args:
        config: See `load_config`.
        resume: Continue from the newest whole checkpoint in the work folder, if there is one.

    Returns:
        ``<work_dir>/student.pth``, plain tensors with the stock detector's keys; beside it
        ``student_config.py`` with the stock model dict.
    """
    if config.get("stages"):
        from kd3d.engine.stages import train_stages

        return train_stages(config, resume)
    config = config.copy()
    check_data(config, "train_dataloader", "val_dataloader")
    check_stores(config)
    ours = [dict(type="ProgressHook", label=config.get("quiet"))]
    if config.get("seeded_data"):
        ours.append(dict(type="StepSeedHook"))
        config.train_dataloader = seeded_dataloader(
            config.train_dataloader, views=config.get("views")
        )
    names = [hook["type"] for hook in ours]
    others = [hook for hook in config.get("custom_hooks", []) if hook["type"] not in names]
    config.custom_hooks = [*others, *ours]
    settle(config, resume)
    runner = make_runner(config)
    if not config.resume:
        note_inheritance(runner.model, config.work_dir)
    with building(config):  # what the runner would build at the start of its training
        runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
        _ = runner.train_loop
    runner.train()
    if is_main_process():
        write_json(Path(config.work_dir) / TRAINED_FILE, {"iterations": runner.iter})
    runner.use_averaged_weights()
    return export_student(runner.model, config)


def test(config: Config, checkpoint: str | Path, model: str = "student") -> dict[str, float]:  # noqa: PT028
    """Evaluate a checkpoint on the config's test set; teachers are neither built nor needed.

    Args:
        config: See `load_config`.
        checkpoint: The weights.
        model: Whose weights they are: ``student``, or the name of an online peer or average.
    """
    config = config.copy()
    config.resume = False
    if config.model.get("type") == "Distiller":
        config.model = dict(type="Distiller", student=exported_detector(config, model))
    for unused in (
        "model_wrapper_cfg",
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

    whole: Any = model.module if is_model_wrapper(model) else model
    load_weights(getattr(whole, "student", whole), checkpoint)
