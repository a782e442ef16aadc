"""Mixed precision that also runs without a GPU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn


@OPTIM_WRAPPERS.register_module()
class Bf16OptimWrapper(OptimWrapper):
    """bfloat16 autocast of the forward pass, weights and updates in float32, on CPU or GPU.

    bfloat16 has float32's range, so there is no loss scaling; mmengine's ``AmpOptimWrapper``, which
    scales, needs an accelerator. Learners and teachers run under autocast; terms compute in
    float32 (`kd3d.core.term.Term`).

    Args:
        **options: Of mmengine's ``OptimWrapper``: optimizer, accumulative_counts, clip_grad.
    """

    @contextlib.contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[Any]:
        """Autocast on the model's device, and mmengine's context for gradient accumulation."""
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, dtype=torch.bfloat16):
            yield
