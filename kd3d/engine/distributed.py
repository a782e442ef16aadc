"""Several processes, with or without GPUs: how they meet, and the wrapper that keeps them equal.

mmengine's own start and wrapper take a CUDA device for granted. Here a machine without one uses
gloo, and everything that a distilled training updates is the same in every process: learners and
adapters by averaged gradients, BatchNorm statistics by averaging, teachers that follow the student
because they follow equal students.
"""

from __future__ import annotations

import datetime
import os
import subprocess
from functools import partial
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import MODEL_WRAPPERS
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _NormBase

from kd3d.core.distiller import Distiller
from kd3d.core.step import train_step
from kd3d.errors import UserError

PORT = "29500"


def set_up(config: Config) -> None:
    """Make the config ready for the processes that were started; join them where there is no GPU.

    Under ``torchrun`` the launcher need not be named. With CUDA, mmengine joins the processes by
    nccl; without, they are joined here by gloo. A data-parallel job gets `DistilledDataParallel`
    unless ``model_wrapper_cfg`` names another wrapper.

    Raises:
        UserError: A launcher that was not used, or ``find_unused_parameters``.
    """
    launcher = config.get("launcher") or "none"
    if launcher == "none" and distributed.is_torchelastic_launched():
        launcher = "pytorch"
    config.launcher = launcher
    if launcher == "none":
        return
    if config.get("find_unused_parameters"):
        raise UserError(
            "every parameter is used in every step, so none is looked for",
            "find_unused_parameters",
            "leave it out",
        )
    wrapper = dict(config.get("model_wrapper_cfg") or {})
    config.model_wrapper_cfg = {"type": "DistilledDataParallel", **wrapper}
    if not torch.cuda.is_available() and not distributed.is_initialized():
        _join(launcher, ((config.get("env_cfg") or {}).get("dist_cfg") or {}).get("timeout"))


def _join(launcher: str, timeout_s: float | None) -> None:
    """Join the processes by gloo."""
    if launcher == "slurm":
        _name_slurm_processes()
    elif launcher != "pytorch":
        raise UserError(f"without CUDA there is no launcher {launcher!r}", "launcher", "pytorch")
    absent = [key for key in ("RANK", "LOCAL_RANK", "WORLD_SIZE") if key not in os.environ]
    if absent:
        raise UserError(
            f"{', '.join(absent)} not set: no launcher started this process",
            "launcher",
            "tools/dist_train.sh CONFIG PROCESSES",
        )
    timeout = None if timeout_s is None else datetime.timedelta(seconds=timeout_s)
    distributed.init_process_group("gloo", timeout=timeout)


def _name_slurm_processes() -> None:
    """Set torch's environment variables from those of ``srun``, as mmengine does."""
    try:
        rank, count, nodes = (
            os.environ[f"SLURM_{key}"] for key in ("PROCID", "NTASKS", "NODELIST")
        )
    except KeyError as error:
        raise UserError(
            f"{error.args[0]} not set: srun did not start this process",
            "launcher",
            "tools/slurm_train.sh",
        ) from None
    os.environ |= {"RANK": rank, "WORLD_SIZE": count}
    os.environ["LOCAL_RANK"] = os.environ.get("SLURM_LOCALID", "0")
    os.environ.setdefault("MASTER_PORT", PORT)
    if "MASTER_ADDR" not in os.environ:
        command = ["scontrol", "show", "hostnames", nodes]
        names = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        os.environ["MASTER_ADDR"] = names.split()[0]


@MODEL_WRAPPERS.register_module()
class DistilledDataParallel(MMDistributedDataParallel):
    """Data parallelism for a distiller or a stock detector, on GPUs or on CPUs.

    Gradients are averaged over the processes; losses divide by the whole batch's counts
    (`kd3d.losses.reduce`), so W processes with batches of b train like one with a batch of W * b.
    Plain BatchNorm normalises by its own process's batch, as everywhere; its running statistics are
    averaged after every forward pass. On GPUs ``sync_bn="torch"`` makes it see the whole batch.

    Args:
        module: A `Distiller` or an mmengine model, on its device.
        device_ids: Given by mmengine; without CUDA there is none.
        find_unused_parameters: Refused: every term takes part in every step, a weight of 0
            included.
        **options: Of `torch.nn.parallel.DistributedDataParallel`.
    """

    def __init__(
        self,
        module: nn.Module,
        device_ids: list[int] | None = None,
        find_unused_parameters: bool = False,
        **options: Any,
    ) -> None:
        if find_unused_parameters:
            where = "model_wrapper_cfg.find_unused_parameters"
            raise UserError("every parameter is used in every step", where, "leave it out")
        devices = device_ids if torch.cuda.is_available() else None
        options = {"broadcast_buffers": False, **options}
        super().__init__(module, device_ids=devices, find_unused_parameters=False, **options)
        keep_statistics_equal(module)

    def train_step(self, data: Any, optim_wrapper: Any) -> dict[str, Tensor]:
        """Take a distiller's step (turns, guard, teachers that follow), or a stock model's."""
        if not isinstance(self.module, Distiller):
            return super().train_step(data, optim_wrapper)
        run = partial(self._run_forward, mode="loss")
        return train_step(self.module, self, run, data, optim_wrapper)


def keep_statistics_equal(model: nn.Module) -> None:
    """Average BatchNorm statistics as soon as a learner or a term has updated them.

    At once, because a teacher that follows the student reads them in the same step.
    """
    parts = [model]
    if isinstance(model, Distiller):
        parts = [*model.learners.values(), *model.terms.values()]
    for part in parts:
        part.register_forward_hook(lambda module, inputs, output: average_statistics(module))


@torch.no_grad()
def average_statistics(model: nn.Module) -> None:
    """Average the running mean and variance of BatchNorm layers in training over all processes.

    The mean is that of the whole batch; the variance leaves out how the processes' means differ.
    Layers that synchronise by themselves (SyncBatchNorm) are left alone.
    """
    statistics = [
        value.data  # the backward pass still holds them, though it does not read them in training
        for layer in model.modules()
        if isinstance(layer, _NormBase) and not isinstance(layer, nn.SyncBatchNorm)
        if layer.training and layer.track_running_stats
        for value in (layer.running_mean, layer.running_var)
        if value is not None
    ]
    if not statistics:
        return
    flat = torch.cat(statistics)
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for value, mean in zip(statistics, flat.split([len(value) for value in statistics])):
        value.copy_(mean)
