"""Features with zero mean and unit variance per channel over the batch."""

from __future__ import annotations

import torch
from torch import Tensor

from kd3d.losses.reduce import sum_over_ranks

Moments = tuple[Tensor, Tensor]
_BLOCK = 1 << 18  # numbers at a time in `channel_moments`: they stay in the cache


def channel_moments(feature: Tensor) -> Moments:
    """Return each sample's mean and (biased) variance per channel.

    Args:
        feature: (B, C, H, W) or (B, C, N); or rows (V, C), which count as one sample.

    Returns:
        Mean and variance, (B, C) each, or (1, C) for rows.
    """
    if feature.dim() == 2:
        feature = feature.t()[None]
    rows = feature.flatten(0, 1).flatten(1)  # (B * C, n)
    mean = rows.mean(1, keepdim=True)
    variance = torch.empty_like(mean)
    step = max(1, _BLOCK // max(rows.shape[1], 1))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        variance[part] = (rows[part] - mean[part]).square_().mean(1, keepdim=True)
    return mean.view(feature.shape[:2]), variance.view(feature.shape[:2])


def pooled_moments(moments: Moments, count: int) -> Moments:
    r"""Return the mean and variance of a batch from those of its samples, over all processes.

    .. math:: \mu = \frac{\sum_b n_b \mu_b}{\sum_b n_b}, \qquad
        \sigma^2 = \frac{\sum_b n_b (\sigma_b^2 + (\mu_b - \mu)^2)}{\sum_b n_b}

    Where torch.distributed is initialised the sums run over the samples of all ranks, so that
    ranks and one process with the whole batch give the same; every rank must call it.

    Args:
        moments: Mean and variance (B, C).
        count: n_b, the number of elements behind each sample's moments on this rank.

    Returns:
        Mean and variance (C,), float64.
    """
    mean, variance = (value.double() for value in moments)
    total = sum_over_ranks(torch.full_like(mean[0], float(len(mean) * count)))
    pooled = sum_over_ranks(mean.sum(0) * count) / total
    spread = (variance + (mean - pooled).square()).sum(0) * count
    return pooled, sum_over_ranks(spread) / total


def standardise_rows(rows: Tensor, moments: Moments, count: int, eps: float = 1e-5) -> Tensor:
    """Return rows (N, C) standardised by a batch's moments; see `pooled_moments`."""
    mean, variance = pooled_moments(moments, count)
    scale = (variance + eps).rsqrt()
    return (rows - mean.to(rows.dtype)) * scale.to(rows.dtype)


def standardised(feature: Tensor, eps: float = 1e-5) -> Tensor:
    """Return (B, C, H, W), (B, C, N) or (V, C) features standardised per channel over the batch."""
    mean, variance = pooled_moments(
        channel_moments(feature), feature[:1, 0].numel() if feature.dim() > 2 else len(feature)
    )
    shape = (1, -1) + (1,) * (feature.dim() - 2)
    scale = (variance + eps).rsqrt()
    return (feature - mean.to(feature.dtype).view(shape)) * scale.to(feature.dtype).view(shape)
