"""Self-attention over the channels of a set of rows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kd3d.losses.precision import as_float


def channel_mixture(rows: Tensor, scale: float | Tensor) -> Tensor:
    r"""Mix channels by their similarity over the rows.

    .. math:: X \operatorname{softmax}_{\text{columns}}\Big(\frac{X^\top X}{\text{scale}}\Big)

    A channel becomes a convex combination of all channels. H. Cho, J. Choi, G. Baek, W. Hwang,
    "itKD: Interchange transfer-based knowledge distillation for 3D object detection", CVPR 2023,
    head attention.

    Args:
        rows: (B, N, C); rows of zeros change nothing.
        scale: A number, or (B, 1, 1).

    Returns:
        (B, N, C).
    """
    rows = as_float(rows)
    return rows @ (rows.transpose(1, 2) @ rows / scale).softmax(1)


def head_attention(rows: Tensor, split: Sequence[int], scale: float | Tensor) -> Tensor:
    """Return the mixture of all channels, then that of each group of channels.

    Args:
        rows: (B, N, C), the groups side by side.
        split: Channels of each group; their sum is C.
        scale: See `channel_mixture`.

    Returns:
        (B, N, 2 C).
    """
    groups = [channel_mixture(group, scale) for group in rows.split(list(split), 2)]
    return torch.cat([channel_mixture(rows, scale), *groups], 2)
