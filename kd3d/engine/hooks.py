"""Hooks of the training loop."""

from __future__ import annotations

from collections.abc import Iterator

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS

from kd3d.console import track


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
