"""The one place where a masked loss becomes a number."""

from __future__ import annotations

from torch import Tensor


def masked_mean(value: Tensor, mask: Tensor | None = None) -> Tensor:
    r"""Average un-reduced losses under non-negative weights.

    .. math:: \frac{\sum_i m_i v_i}{\sum_i m_i}

    An empty mask gives a zero that is attached to the graph (gradients are zero, not missing), so
    that a data-parallel step never waits for a parameter.

    Args:
        value: (B, H, W) or (B, N), un-reduced.
        mask: (B, 1, H, W) for maps or (B, N); None weighs all elements alike.

    Returns:
        A scalar.

    Raises:
        ValueError: The mask does not have the value's layout; it is never broadcast.
    """
    if mask is None:
        return value.mean() if value.numel() else value.sum()
    weight = mask.squeeze(1) if mask.dim() == value.dim() + 1 and mask.shape[1] == 1 else mask
    if weight.shape != value.shape:
        raise ValueError(f"mask {tuple(mask.shape)} does not fit values {tuple(value.shape)}")
    weight = weight.to(value.dtype)
    total = weight.sum()
    weighted = (value * weight).sum()
    return weighted / total if total > 0 else value.sum() * 0.0
