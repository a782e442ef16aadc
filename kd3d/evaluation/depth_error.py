"""How far a lifted distribution of depth is from what the LiDAR measured."""

from __future__ import annotations

import torch
from torch import Tensor

from kd3d.losses.depth.inner_depth import expected_depth
from kd3d.models.bev.frustum import DepthBins

CLOSE = 1.25  # the ratio within which a depth counts as right
GROUPS = ("all", "objects")


class DepthError:
    """Errors of the expected depth, gathered over batches.

    The measures of D. Eigen, C. Puhrsch, R. Fergus, "Depth map prediction from a single image using
    a multi-scale deep network", NeurIPS 2014, section 4: with z measured and z' the mean of the
    distribution, ``abs_rel`` the mean of |z' - z| / z, ``rmse_m`` the root of the mean of
    (z' - z)^2, ``close`` the share with max(z' / z, z / z') < 1.25. Further ``mae_m``, the mean of
    |z' - z|, and ``nll``, the mean of -log of the probability of the bin that z lies in.

    Args:
        bins: Of the distribution. Cells whose measured depth lies outside do not count.
    """

    def __init__(self, bins: DepthBins) -> None:
        self.bins = bins
        self.sums = {name: torch.zeros(6, dtype=torch.float64) for name in GROUPS}

    def add(self, logits: Tensor, depth: Tensor, objects: Tensor) -> None:
        """Add images.

        Args:
            logits: (B, D, H, W), before the softmax.
            depth: (B, H, W) metres; 0: none was measured.
            objects: (B, H, W): which object a cell shows, 0: none.
        """
        index = self.bins.index(depth)
        known = (index >= 0) & (depth > 0)
        mean = expected_depth(logits, self.bins.values().to(logits))[known].double()
        log = logits.float().log_softmax(1).gather(1, index.clamp_min(0)[:, None])[:, 0]
        z, nll = depth[known].double(), -log[known].double()
        gap = (mean - z).abs()
        close = torch.maximum(mean / z, z / mean) < CLOSE
        rows = torch.stack([torch.ones_like(z), gap / z, gap.square(), close.double(), gap, nll])
        self.sums["all"] += rows.sum(1).cpu()
        self.sums["objects"] += rows[:, (objects > 0)[known]].sum(1).cpu()

    def result(self) -> dict[str, dict[str, float | int | None]]:
        """Return ``all`` and ``objects``: the measures, None without a cell, and ``cells``."""
        return {name: _means(values.tolist()) for name, values in self.sums.items()}


def _means(sums: list[float]) -> dict[str, float | int | None]:
    count = int(sums[0])
    rel, square, close, mae, nll = (value / count if count else None for value in sums[1:])
    root = None if square is None else square**0.5
    return dict(cells=count, abs_rel=rel, rmse_m=root, close=close, mae_m=mae, nll=nll)
