"""Hooks of the training loop."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank, is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS

from kd3d.console import track
from kd3d.fileio import write_text


@HOOKS.register_module()
class ProgressHook(Hook):
    """Tell the distiller, and the person who waits, how much of the training is done.

    Args:
        label: Show a progress line with this label; None leaves the console to mmengine's logger.
    """

    priority = "VERY_HIGH"

    def __init__(self, label: str | None = None) -> None:
        self.label = label
        self.bar: Iterator[int] | None = None

    def before_train(self, runner) -> None:
        """Start the progress line at the iteration where the training stands."""
        if self.label and runner.iter < runner.max_iters:
            self.bar = iter(
                track(range(runner.iter, runner.max_iters), f"    training {self.label}")
            )
            next(self.bar)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """Advance the progress line."""
        if self.bar is not None:
            next(self.bar, None)

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        """Set progress = done iterations / all iterations."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if hasattr(model, "set_progress"):
            model.set_progress(runner.iter / max(runner.max_iters, 1))


@HOOKS.register_module()
class StepSeedHook(Hook):
    """Seed the model's own randomness (dropout and the like) anew at every step.

    mmengine saves no random state; with this hook, and data from `kd3d.data.views.SeededViews`, a
    resumed training ends with the same bits as one that was never stopped.
    """

    priority = "VERY_HIGH"

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        """Seed from the run's seed, the iteration and the rank."""
        words = [runner.seed, runner.iter, get_rank()]
        seeds = [int(word) for word in np.random.SeedSequence(words).generate_state(3)]
        random.seed(seeds[0])
        np.random.seed(seeds[1])
        torch.manual_seed(seeds[2])


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """mmengine's hook on local files; the oldest checkpoint goes only after the new one is written.

    mmengine deletes first, so that a full disk would leave no checkpoint at all.
    """

    def _save_checkpoint_with_step(self, runner, step: int, meta: dict[str, Any]) -> None:
        folder, ids = Path(self.out_dir), self.keep_ckpt_ids
        oldest = None
        if self.max_keep_ckpts > 0 and (not ids or ids[-1] != step):
            oldest = ids[0] if len(ids) == self.max_keep_ckpts else None
            ids.append(step)  # a deque of this length: the oldest drops out
            runner.message_hub.update_info("keep_ckpt_ids", list(ids))
        name = self.filename_tmpl.format(step)
        self.last_ckpt = str(folder / name)
        runner.message_hub.update_info("last_ckpt", self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            name,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            **self.args,
        )
        if is_main_process():
            write_text(Path(runner.work_dir) / "last_checkpoint", self.last_ckpt)
            if oldest is not None:
                (folder / self.filename_tmpl.format(oldest)).unlink(missing_ok=True)
