"""Vectors of length 1."""

from __future__ import annotations

import torch
from torch import Tensor


def unit_length(feature: Tensor, dim: int, eps: float = 1e-12) -> Tensor:
    """Return the tensor scaled to Euclidean length 1 along an axis.

    A vector shorter than `eps` has no direction: it becomes 0, and its gradient is 0 (that of
    `torch.nn.functional.normalize` is 1 / eps there).

    Args:
        feature: Any shape, float32 or better.
        dim: Axis.
        eps: Least length.
    """
    length = torch.linalg.vector_norm(feature, dim=dim, keepdim=True)
    return torch.where(length > eps, feature / length.clamp(min=eps), torch.zeros_like(feature))
