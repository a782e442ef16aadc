"""Hooks of the training loop."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS


@HOOKS.register_module()
class ProgressHook(Hook):
    """Tell the distiller how much of the training is done, so that weights follow their schedules."""

    priority = "VERY_HIGH"

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        """Set progress = done iterations / all iterations."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if hasattr(model, "set_progress"):
            model.set_progress(runner.iter / max(runner.max_iters, 1))
