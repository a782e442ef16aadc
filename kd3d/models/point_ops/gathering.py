"""Features at indices: gathered, grouped, interpolated; and the gradients of that."""

from __future__ import annotations

from torch import Tensor


def gather_points(features: Tensor, indices: Tensor) -> Tensor:
    """Return out[b, c, m] = features[b, c, indices[b, m]].

    Args:
        features: (B, C, N).
        indices: (B, M) integers in 0..N-1.

    Returns:
        (B, C, M).
    """
    return features.gather(2, _over_channels(indices, features.shape[1]))


def gather_points_backward(grad: Tensor, indices: Tensor, num_points: int) -> Tensor:
    """Return the (B, C, N) gradient of `gather_points`: a point sums over its copies.

    Args:
        grad: (B, C, M).
        indices: (B, M).
        num_points: N.
    """
    out = grad.new_zeros((*grad.shape[:2], num_points))
    return out.scatter_add(2, _over_channels(indices, grad.shape[1]), grad)


def group_points(features: Tensor, indices: Tensor) -> Tensor:
    """Return out[b, c, m, s] = features[b, c, indices[b, m, s]].

    Args:
        features: (B, C, N).
        indices: (B, M, S) integers in 0..N-1.

    Returns:
        (B, C, M, S).
    """
    return gather_points(features, indices.flatten(1)).unflatten(2, indices.shape[1:])


def group_points_backward(grad: Tensor, indices: Tensor, num_points: int) -> Tensor:
    """Return the (B, C, N) gradient of `group_points`.

    Args:
        grad: (B, C, M, S).
        indices: (B, M, S).
        num_points: N.
    """
    return gather_points_backward(grad.flatten(2), indices.flatten(1), num_points)


def three_interpolate(features: Tensor, indices: Tensor, weight: Tensor) -> Tensor:
    """Return out[b, c, n] = sum_j weight[b, n, j] features[b, c, indices[b, n, j]].

    Args:
        features: (B, C, M).
        indices: (B, N, 3) integers in 0..M-1.
        weight: (B, N, 3); taken as a constant, as in mmcv.

    Returns:
        (B, C, N).
    """
    terms = [
        weight[:, None, :, j] * gather_points(features, indices[:, :, j])
        for j in range(indices.shape[2])
    ]
    return terms[0] + terms[1] + terms[2]


def three_interpolate_backward(
    grad: Tensor, indices: Tensor, weight: Tensor, num_points: int
) -> Tensor:
    """Return the (B, C, M) gradient of `three_interpolate` with respect to the features.

    Args:
        grad: (B, C, N).
        indices: (B, N, 3).
        weight: (B, N, 3).
        num_points: M.
    """
    return group_points_backward(grad[..., None] * weight[:, None], indices, num_points)


def _over_channels(indices: Tensor, channels: int) -> Tensor:
    return indices.long()[:, None].expand(-1, channels, -1)
