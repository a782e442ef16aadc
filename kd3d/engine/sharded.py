"""FSDP2: parameters, gradients and optimizer state of the learners in shards over the processes."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from mmengine.registry import MODEL_WRAPPERS
from torch import Tensor, distributed, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from kd3d.core.distiller import Distiller
from kd3d.core.step import train_step
from kd3d.engine.distributed import keep_statistics_equal
from kd3d.errors import UserError

CALLED = ("voxel_encoder", "middle_encoder", "backbone", "neck")


@MODEL_WRAPPERS.register_module()
class FullyShard(nn.Module):
    """Fully sharded data parallelism of a distiller: ``model_wrapper_cfg=dict(type="FullyShard")``.

    Each learner's encoders, backbone and neck are gathered when they run; heads, adapters and
    balances with the distiller. Teachers off the module tree stay whole. State dicts are gathered
    and keep the portable names (torch's ``get_model_state_dict`` does not bear renaming), so
    checkpoints and exports are those of an unsharded training and each resumes the other.

    Every process must take part in ``state_dict()``, of the model and of the optimizer.

    Args:
        module: A `Distiller` on its device; its weights are initialised here, while they are whole.
        reshard_after_forward: Free the gathered parameters between forward and backward pass.

    Raises:
        UserError: Not a distiller, or a teacher that follows the student's whole weights.
    """

    def __init__(self, module: Distiller, reshard_after_forward: bool = True) -> None:
        super().__init__()
        _refuse(module)
        module.init_weights()
        for tensor in [*module.parameters(), *module.buffers()]:
            distributed.broadcast(tensor.detach(), 0)
        for learner in module.learners.values():
            for name, child in learner.named_children():
                if name.endswith(CALLED) and next(child.parameters(), None) is not None:
                    fully_shard(child, reshard_after_forward=reshard_after_forward)
        fully_shard(module, reshard_after_forward=False)
        module._register_state_dict_hook(_gather)
        module._register_load_state_dict_pre_hook(_share, with_module=True)
        keep_statistics_equal(module)
        self.module = module

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the module."""
        return self.module(*args, **kwargs)

    def _run_forward(self, batch: dict[str, Any], mode: str) -> Any:
        return self(**batch, mode=mode)

    def train_step(self, data: Any, optim_wrapper: Any) -> dict[str, Tensor]:
        """Take a distiller's step."""
        run = partial(self._run_forward, mode="loss")
        return train_step(self.module, self, run, data, optim_wrapper)

    def val_step(self, data: Any) -> list:
        """Return the student's predictions."""
        return self.module.val_step(data)

    def test_step(self, data: Any) -> list:
        """Return the student's predictions."""
        return self.module.test_step(data)

    @staticmethod
    def follow(optimizer: torch.optim.Optimizer) -> None:
        """Make an optimizer of the shards save and load whole tensors."""
        optimizer.register_state_dict_post_hook(_gather_optimizer)
        optimizer.register_load_state_dict_pre_hook(_share_optimizer)


def _refuse(module: nn.Module) -> None:
    if not isinstance(module, Distiller):
        raise UserError("shards a Distiller only", "model_wrapper_cfg", "leave the wrapper out")
    if getattr(module.balance, "measures_gradients", False):
        raise UserError(
            "gradients are measured on whole weights",
            "model.balance",
            "use Uncertainty or DWA, or leave model_wrapper_cfg out",
        )
    for name, teacher in module.teachers.items():
        if getattr(teacher, "follows_student", False):
            raise UserError(
                "a moving average of the student needs whole weights",
                f"model.teachers.{name}",
                "use data parallelism: leave model_wrapper_cfg out",
            )


def _whole(value: Any) -> Any:
    return value.full_tensor() if isinstance(value, DTensor) else value


def _shard(value: Any, like: Any) -> Any:
    """Return this process's shard of a whole tensor, if `like` is sharded and of its shape."""
    if not isinstance(like, DTensor) or not isinstance(value, Tensor):
        return value
    if isinstance(value, DTensor) or value.shape != like.shape:
        return value
    value = value.to(like.device)
    return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)


def _gather(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    for key in list(state):
        state[key] = _whole(state[key])


def _share(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for name, parameter in module.named_parameters():
        if prefix + name in state:
            state[prefix + name] = _shard(state[prefix + name], parameter)


def _gather_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    moments = {
        index: {key: _whole(value) for key, value in entry.items()}
        for index, entry in state["state"].items()
    }
    return {**state, "state": moments}


def _share_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    moments = {
        index: {key: _shard(value, parameters[index]) for key, value in entry.items()}
        for index, entry in state["state"].items()
    }
    return {**state, "state": moments}
