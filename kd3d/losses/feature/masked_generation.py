"""Random masks for features that must be regenerated."""

from __future__ import annotations

import torch
from torch import Tensor


def kept_cells(feature: Tensor, dropped: float, per_channel: bool = False) -> Tensor:
    r"""Draw which cells of a map are kept, each with probability :math:`1 - \lambda`.

    Z. Yang, Z. Li, M. Shao, D. Shi, Z. Yuan, C. Yuan, "Masked generative distillation" (MGD),
    ECCV 2022, equation 2.

    Args:
        feature: (B, C, H, W); gives size, device and type.
        dropped: lambda, 0 to 1.
        per_channel: Keep or drop whole channels.

    Returns:
        (B, 1, H, W), or (B, C, 1, 1), of 0 and 1; drawn from torch's global random state.
    """
    batch, channels, height, width = feature.shape
    shape = (batch, channels, 1, 1) if per_channel else (batch, 1, height, width)
    return (torch.rand(shape, device=feature.device) <= 1 - dropped).to(feature.dtype)
