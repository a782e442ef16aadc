"""Supervision of a depth distribution by projected LiDAR points."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kd3d.errors import UserError
from kd3d.models.bev.frustum import DepthBins

KINDS = ("binary", "categorical")


def depth_loss(logits: Tensor, depth: Tensor, bins: DepthBins, kind: str = "binary") -> Tensor:
    """Compare a depth distribution with measured depths; in float32.

    Y. Li et al., "BEVDepth: Acquisition of reliable depth for multi-view 3D object detection", AAAI
    2023, section 3.2. ``binary``, as in their code: the binary cross-entropy of every bin's
    probability, summed over the bins, mean over the cells with a measured depth inside the bins.
    ``categorical``: the cross-entropy of the distribution, mean over the same cells.

    Args:
        logits: (..., D, H, W), before the softmax.
        depth: (..., H, W) metres; 0: none was measured.
        bins: The D bins.
        kind: See above.

    Returns:
        A scalar; 0 with a graph where no cell has a depth.

    Raises:
        UserError: Maps of other sizes.
    """
    if logits.shape[-2:] != depth.shape[-2:]:
        raise UserError(
            f"depth maps of {tuple(depth.shape[-2:])} cells, features of "
            f"{tuple(logits.shape[-2:])}",
            "depth supervision",
            "give DepthMaps the stride of the features, and images whole multiples of it",
        )
    target = bins.index(depth.reshape(-1))
    rows = logits.movedim(-3, -1).reshape(-1, bins.count).float()
    known = (target >= 0) & (depth.reshape(-1) > 0)
    rows, target = rows[known], target[known]
    with torch.autocast(logits.device.type, enabled=False):
        if kind == "categorical":
            total = F.cross_entropy(rows, target, reduction="sum")
        else:
            wanted = F.one_hot(target, bins.count).to(rows)
            total = F.binary_cross_entropy(rows.softmax(1), wanted, reduction="sum")
    return total / max(len(target), 1)
