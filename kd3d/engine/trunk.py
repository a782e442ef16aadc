"""Faster or smaller trunks of the learners: torch.compile and activation checkpointing, by config.

Both change modules in place and leave every parameter's name, so checkpoints and taps stay as they
are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from mmengine.model import is_model_wrapper
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.checkpoint import checkpoint

from kd3d.errors import UserError, did_you_mean

TRUNK = ("backbone", "neck")


def learners(model: Any) -> list[nn.Module]:
    """Return the detectors that are trained: a distiller's, or the stock detector itself."""
    model = model.module if is_model_wrapper(model) else model
    return list(getattr(model, "learners", {"": model}).values())


def compile_trunks(model: nn.Module, options: bool | Mapping[str, Any]) -> None:
    """Compile backbone and neck of every learner (``compile`` in the config).

    Taps were registered before, so they are compiled along with the modules they sit on. The rest
    (voxels, targets, decoding) branches on data and stays eager.

    Args:
        model: A distiller or detector, wrapped or not.
        options: True, or the arguments of `torch.compile`.
    """
    for learner in learners(model):
        for name, module in learner.named_children():
            if name.endswith(TRUNK):
                module.compile(**(options if isinstance(options, Mapping) else {}))


class _Recomputed:
    """Mixed in before a module's class: its activations are computed again in the backward pass."""

    @torch.compiler.disable
    def forward(self, *inputs: Any, **named: Any) -> Any:
        run = super().forward  # type: ignore[misc]
        if not torch.is_grad_enabled():
            return run(*inputs, **named)
        contexts = lambda: (contextlib.nullcontext(), _statistics_kept(self))  # noqa: E731
        return checkpoint(run, *inputs, use_reentrant=False, context_fn=contexts, **named)


@contextlib.contextmanager
def _statistics_kept(module: Any) -> Iterator[None]:
    """Keep BatchNorm's running statistics, which the recomputation would update a second time."""
    layers = [layer for layer in module.modules() if isinstance(layer, _NormBase)]
    before = [(layer.momentum, layer.num_batches_tracked) for layer in layers]
    for layer, (_, count) in zip(layers, before):
        layer.momentum = 0.0
        layer.num_batches_tracked = None if count is None else count.clone()
    try:
        yield
    finally:
        for layer, (momentum, count) in zip(layers, before):
            layer.momentum, layer.num_batches_tracked = momentum, count


def recompute(model: nn.Module, paths: Iterable[str]) -> None:
    """Checkpoint the activations of modules of every learner (``recompute``).

    The non-reentrant form, so taps inside carry gradients; they fire once, as they are disarmed in
    the recomputation. BatchNorm statistics, too, are updated once. Inside a compiled trunk these
    modules stay eager.

    Args:
        model: A distiller or detector, not yet wrapped.
        paths: Module paths inside a learner, e.g. ``["pts_backbone.blocks.0"]``.

    Raises:
        UserError: No learner has the module.
    """
    for path in paths:
        found = [
            module
            for learner in learners(model)
            for name, module in learner.named_modules()
            if name == path
        ]
        if not found:
            names = [name for each in learners(model) for name, _ in each.named_modules()]
            raise UserError(f"no module {path!r}", "recompute", did_you_mean(path, names))
        for module in found:
            kind = type(module)
            module.__class__ = type(f"Recomputed{kind.__name__}", (_Recomputed, kind), {})
