"""Depth within an object, relative to one of its cells."""

from __future__ import annotations

import torch
from torch import Tensor

from kd3d.losses.precision import as_float


def expected_depth(logits: Tensor, bins: Tensor) -> Tensor:
    r"""Return :math:`\sum_k \mathrm{softmax}_k(x)\, d_k`, (B, H, W) of logits (B, D, H, W).

    Args:
        logits: Of the bins.
        bins: (D,) the depth that each bin stands for, metres.
    """
    return (as_float(logits).softmax(1) * bins.view(1, -1, 1, 1)).sum(1)


def inner_depth_error(depth: Tensor, measured: Tensor, objects: Tensor) -> Tensor:
    r"""Squared error of depths relative to the best cell of each object.

    .. math:: \big((\hat z_i - \hat z_r) - (z_i - z_r)\big)^2, \qquad
        r = \arg\min_{j \in \Omega} |\hat z_j - z_j|

    P. Huang, L. Liu, R. Zhang, S. Zhang, X. Xu, B. Wang, G. Liu, "TiG-BEV: Multi-view BEV 3D object
    detection via target inner-geometry learning", arXiv:2212.13979, section 3.2. The reference's
    own prediction is a constant.

    Args:
        depth: (B, H, W) predicted, metres; B images.
        measured: (B, H, W); 0: none.
        objects: (B, H, W) int64: 0 background, else the index of an object from 1; an object is
            apart in each image.

    Returns:
        (N,) un-reduced, of the N cells with an object and a measured depth.
    """
    depth = as_float(depth)
    kept = (objects > 0) & (measured > 0)
    image = torch.arange(len(objects), device=objects.device).view(-1, 1, 1)
    key = (image * (objects.amax() + 1) + objects)[kept]
    ours, theirs = depth[kept], measured[kept].to(depth.dtype)
    _, which = key.unique(return_inverse=True)  # which object each cell is of
    gap = (ours - theirs).detach()
    place = torch.arange(len(gap), device=gap.device)
    least = torch.full_like(gap, torch.inf).scatter_reduce(0, which, gap.abs(), "amin")
    place = torch.where(gap.abs() == least[which], place, len(gap))
    reference = torch.full_like(which, len(gap)).scatter_reduce(0, which, place, "amin")
    return (ours - theirs - gap[reference[which]]).square()
