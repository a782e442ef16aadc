"""Half-precision inputs are computed in float32."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def as_float(value: Tensor) -> Tensor:
    """Return the tensor in float32, or as it is where it already has that precision or more."""
    return value if value.dtype in (torch.float32, torch.float64) else value.float()


def in_float32(value: Any) -> Any:
    """Return nested dicts, lists and tuples (as lists) with floating-point tensors in float32."""
    if isinstance(value, Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, dict):
        return {key: in_float32(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [in_float32(item) for item in value]
    return value
