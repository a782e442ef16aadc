"""The one place where a masked loss becomes a number, and where processes agree on its scale.

A data-parallel training averages gradients over its processes. A loss that each process divides by
a count of its own is then not the loss of the whole batch: a process with one object counts as much
as one with twenty. Losses therefore divide by `global_normaliser`, after which the average over
processes is what one process with the whole batch would have computed.
"""

from __future__ import annotations

import torch
from torch import Tensor, distributed


def world_size() -> int:
    """Return the number of processes; 1 where torch.distributed was not initialised."""
    ready = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if ready else 1


def sum_over_ranks(value: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes; the tensor itself where there is only one.

    Every process must call it, with tensors of one shape.

    Args:
        value: Any shape; not changed.

    Raises:
        ValueError: It requires a gradient, which would be lost between processes.
    """
    if world_size() == 1:
        return value
    if value.requires_grad:
        raise ValueError("a sum over processes carries no gradient: detach it first")
    value = value.clone()
    distributed.all_reduce(value)
    return value


def global_normaliser(total: Tensor, minimum: float = 0.0) -> Tensor:
    r"""Return this process's share of a normaliser that belongs to the whole batch.

    .. math:: \frac{1}{W} \max\Bigl(\sum_{r=1}^{W} n_r,\ n_{\min}\Bigr)

    With one process it is the total itself.

    Args:
        total: A count or a sum of weights n_r of this process, any shape.
        minimum: Lowest value of the sum over processes.
    """
    whole, processes = sum_over_ranks(total).clamp(min=minimum), world_size()
    return whole / processes if processes > 1 else whole


def masked_mean(value: Tensor, mask: Tensor | None = None) -> Tensor:
    r"""Average un-reduced losses under non-negative weights.

    .. math:: \frac{\sum_i m_i v_i}{\sum_i m_i}

    The denominator is that of the whole batch, see `global_normaliser`. An empty mask gives a zero
    that is attached to the graph (gradients are zero, not missing), so that a data-parallel step
    never waits for a parameter.

    Args:
        value: (B, H, W) or (B, N), un-reduced.
        mask: (B, 1, H, W) for maps or (B, N); None weighs all elements alike.

    Returns:
        A scalar.

    Raises:
        ValueError: The mask does not have the value's layout; it is never broadcast.
    """
    if mask is None:
        count = torch.full((), float(value.numel()), dtype=value.dtype, device=value.device)
        return value.sum() / global_normaliser(count, minimum=1.0)
    weight = mask.squeeze(1) if mask.dim() == value.dim() + 1 and mask.shape[1] == 1 else mask
    if weight.shape != value.shape:
        raise ValueError(f"mask {tuple(mask.shape)} does not fit values {tuple(value.shape)}")
    weight = weight.to(value.dtype)
    total = global_normaliser(weight.sum())
    weighted = (value * weight).sum()
    return weighted / total if total > 0 else value.sum() * 0.0
