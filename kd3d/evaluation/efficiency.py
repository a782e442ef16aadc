"""What a detector costs: parameters, multiply-accumulates, CPU latency, file size."""

from __future__ import annotations

import itertools
import statistics
import time
from functools import partial
from typing import Any

import torch
from mmcv.ops import DeformConv2d, ModulatedDeformConv2d
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from kd3d.core.run import run_heads
from kd3d.errors import UserError

DEFORMABLE = (DeformConv2d, ModulatedDeformConv2d)


def parameters(model: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(p.numel() for p in model.parameters())


def multiply_accumulates(model: Any, batch: dict[str, Any]) -> int:
    """Return the multiply-accumulates of the network on one preprocessed batch.

    Voxelisation, pooling, normalisation and post-processing are not counted; see `layer_macs`.

    Args:
        model: A stock detector in eval mode.
        batch: ``inputs`` and ``data_samples`` of one frame, preprocessed.
    """
    return sum(layer_macs(model, batch).values())


@torch.no_grad()
def layer_macs(model: Any, batch: dict[str, Any]) -> dict[str, int]:
    """Return layer -> multiply-accumulates on one preprocessed batch.

    Dense layers are counted by torch's counter (2 FLOPs each). A sparse convolution does Cin x Cout
    for each pair of an occupied input site and an output site (`site_pairs`), so its number is that
    of this frame; a deformable one does what a plain one does, without the sampling.

    Args:
        model: A stock detector in eval mode.
        batch: ``inputs`` and ``data_samples``, preprocessed.

    Returns:
        Module path -> number; matrix products outside of any layer are under ``""``.
    """
    with FlopCounterMode(display=False) as counter:
        layers = _Layers(model, counter)
        try:
            run_heads(model, batch["inputs"], batch["data_samples"])
        finally:
            layers.remove_hooks()
    rest = counter.get_total_flops() // 2 - layers.seen_by_torch
    return layers.macs | layers.sparse_macs() | ({"": rest} if rest else {})


class _Layers:
    """Hooks that count what each layer of a model does in one forward pass."""

    def __init__(self, model: nn.Module, counter: FlopCounterMode) -> None:
        self.counter, self.seen_by_torch = counter, 0
        self.macs: dict[str, int] = {}
        self.sites: dict[str, tuple[Any, Tensor, Tensor, list[int]]] = {}
        self.before: dict[str, int] = {}
        self.hooks = []
        for name, module in model.named_modules():
            leaf = getattr(module, "weight", None) is not None and not any(module.children())
            if leaf or is_sparse(module) or isinstance(module, DEFORMABLE):
                enter, leave = partial(self._enter, name), partial(self._leave, name)
                self.hooks.append(module.register_forward_pre_hook(enter))
                self.hooks.append(module.register_forward_hook(leave))

    def remove_hooks(self) -> None:
        for hook in self.hooks:
            hook.remove()

    def _enter(self, name: str, *_: Any) -> None:
        self.before[name] = self.counter.get_total_flops()

    def _leave(self, name: str, module: Any, inputs: Any, output: Any) -> None:
        macs = seen = (self.counter.get_total_flops() - self.before[name]) // 2
        if is_sparse(module):  # counted afterwards: the counter slows every operation down
            taken, given = inputs[0].indices, output.indices
            self.sites[name] = (module, taken, given, list(inputs[0].spatial_shape))
        elif isinstance(module, DEFORMABLE):
            macs, seen = module.weight.numel() * output.numel() // output.shape[1], 0
        self.macs[name] = self.macs.get(name, 0) + macs
        self.seen_by_torch += seen

    def sparse_macs(self) -> dict[str, int]:
        """Return layer -> number of the sparse layers; equal rulebooks are counted once."""
        found, known = {}, {}
        for name, (module, taken, given, shape) in self.sites.items():
            key = (id(taken), id(given), *map(tuple, geometry(module)))
            if key not in known:
                known[key] = site_pairs(module, taken, given, shape)
            found[name] = known[key] * module.in_channels * module.out_channels
        return found


def is_sparse(module: nn.Module) -> bool:
    """Whether a module is a sparse convolution, of spconv or of mmcv."""
    return hasattr(module, "subm") and hasattr(module, "indice_key")


def geometry(module: Any) -> tuple[list[int], list[int], list[int], list[int]]:
    """Return the kernel, stride, padding and dilation of a sparse convolution, along each axis.

    A submanifold one has outputs where its inputs lie, whatever its own padding says.

    Raises:
        UserError: An inverse or transposed one.
    """
    if module.inverse or module.transposed:
        raise UserError(f"cannot count a {type(module).__name__}", "FLOPs")
    kernel, dilation = list(module.kernel_size), list(module.dilation)
    if module.subm:
        return kernel, [1] * len(kernel), [k // 2 * d for k, d in zip(kernel, dilation)], dilation
    return kernel, list(module.stride), list(module.padding), dilation


def site_pairs(module: Any, taken: Tensor, given: Tensor, shape: list[int]) -> int:
    """Return the number of (input site, output site) pairs in a sparse convolution's rulebook.

    Counted from the sites themselves: libraries and devices keep their rulebooks in several forms.

    Args:
        module: The sparse convolution.
        taken: (N, 1 + D) batch and cell of the input's sites.
        given: (M, 1 + D) of the output's.
        shape: The input's cells along each axis.
    """
    kernel, stride, padding, dilation = map(torch.tensor, geometry(module))
    size = torch.tensor(shape)
    taken, given = taken.cpu().long(), given.cpu().long()
    there = torch.zeros((int(taken[:, 0].max()) + 1) * int(size.prod()), dtype=torch.bool)
    there[_flat(taken, shape)] = True
    total = 0
    for offset in itertools.product(*(range(k) for k in kernel.tolist())):
        cells = given[:, 1:] * stride - padding + torch.tensor(offset) * dilation
        inside = ((cells >= 0) & (cells < size)).all(1)
        touched = torch.cat([given[inside, :1], cells[inside]], 1)
        total += int(there[_flat(touched, shape)].sum())
    return total


def _flat(sites: Tensor, shape: list[int]) -> Tensor:
    """Turn (N, 1 + D) batch and cell into (N,) positions in the flattened dense volume."""
    flat = sites[:, 0]
    for axis, length in enumerate(shape, start=1):
        flat = flat * length + sites[:, axis]
    return flat


@torch.no_grad()
def cpu_latency_ms(model: Any, frames: list[dict[str, Any]], warmup: int = 3) -> dict[str, float]:
    """Return the latency of whole predictions (voxelisation to boxes), one frame at a time.

    Args:
        model: A stock detector in eval mode on the CPU.
        frames: Collated batches of one frame.
        warmup: Untimed predictions first.

    Returns:
        ``median`` in milliseconds and ``threads``.
    """
    times = []
    first = frames[:warmup]
    for i, frame in enumerate([*first, *frames]):
        started = time.perf_counter()
        batch = model.data_preprocessor(
            {
                "inputs": dict(frame["inputs"]),
                "data_samples": [s.new() for s in frame["data_samples"]],
            },
            False,
        )
        model(batch["inputs"], batch["data_samples"], mode="predict")
        if i >= len(first):
            times.append(1000 * (time.perf_counter() - started))
    return {"median": statistics.median(times), "threads": torch.get_num_threads()}


def measure(model: Any, frames: list[dict[str, Any]]) -> dict[str, Any]:
    """Return params, macs and latency_ms of a detector on some collated one-frame batches."""
    model.eval()
    first = {
        "inputs": dict(frames[0]["inputs"]),
        "data_samples": [s.new() for s in frames[0]["data_samples"]],
    }
    batch = model.data_preprocessor(first, False)
    return {
        "params": parameters(model),
        "macs": multiply_accumulates(model, batch),
        "latency_ms": cpu_latency_ms(model, frames),
    }
