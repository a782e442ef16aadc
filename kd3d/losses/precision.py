"""Half-precision inputs are computed in float32."""

from __future__ import annotations

import torch
from torch import Tensor


def as_float(value: Tensor) -> Tensor:
    """Return the tensor in float32, or as it is where it already has that precision or more."""
    return value if value.dtype in (torch.float32, torch.float64) else value.float()
