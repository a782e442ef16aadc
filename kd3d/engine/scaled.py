"""mmengine's runner for several processes and for changed trunks."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import EMAHook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import nn

from kd3d.engine.sharded import FullyShard
from kd3d.engine.trunk import compile_trunks, recompute
from kd3d.errors import UserError


class ScaledRunner(Runner):
    """A runner that knows sharded models, and compiles trunks instead of whole steps.

    Config keys: ``compile`` (True or the arguments of `torch.compile`), ``recompute`` (a list of
    module paths, for activation checkpointing) and mmengine's ``model_wrapper_cfg``.
    """

    def wrap_model(self, model_wrapper_cfg: dict[str, Any] | None, model: nn.Module) -> nn.Module:
        """Set activation checkpointing, then wrap as mmengine does.

        Raises:
            UserError: mmengine's own ``activation_checkpointing``, which updates BatchNorm
                statistics twice and which a copy of the model would share.
        """
        if self.cfg.get("activation_checkpointing"):
            where, fix = (
                "activation_checkpointing",
                "recompute=['pts_backbone'], paths in the detector",
            )
            raise UserError("mmengine's form is not exact", where, fix)
        recompute(model, self.cfg.get("recompute") or [])
        return super().wrap_model(model_wrapper_cfg, model)

    def build_optim_wrapper(self, optim_wrapper: Any) -> OptimWrapper:
        """Build mmengine's; that of a sharded model saves and loads whole tensors."""
        built = super().build_optim_wrapper(optim_wrapper)
        if isinstance(self.model, FullyShard) and built is not optim_wrapper:
            self.model.follow(built.optimizer)
        return built

    def take_part_in_saving(self) -> None:
        """Give this process's shards to the main process, which saves; nothing without shards."""
        if isinstance(self.model, FullyShard):
            self.model.module.state_dict()
            self.optim_wrapper.state_dict()

    def use_averaged_weights(self) -> None:
        """Put mmengine's moving average (``EMAHook``) into the learners, as its checkpoints do."""
        for hook in self.hooks:
            if isinstance(hook, EMAHook):
                hook._swap_ema_parameters()

    def _init_model_weights(self) -> None:
        if not isinstance(self.model, FullyShard):  # it initialises before it shards
            super()._init_model_weights()

    def _maybe_compile(self, target: str) -> None:
        options = self.cfg.get("compile")
        if options:
            compile_trunks(self.model, options)
