"""The pixels and depths at which image features are lifted."""

from __future__ import annotations

import torch
from torch import Tensor

from kd3d.models.bev.grid import Bounds, count_steps


class DepthBins:
    """Bins of equal length along the optical axis.

    Args:
        bounds: [nearest, farthest, length] in metres.
        where: For messages.

    Attributes:
        count: Number of bins D.
    """

    def __init__(self, bounds: Bounds, where: str = "depth") -> None:
        self.near, self.far, self.step = (float(value) for value in bounds)
        self.count = count_steps(bounds, where)

    def values(self, official_parity: bool = False) -> Tensor:
        """Return the (D,) depths at which features are lifted: the bins' middles.

        Args:
            official_parity: Their near ends, as in the published lift-splat code, half a bin
                nearer than the points that the bin is taught with.
        """
        shift = 0.0 if official_parity else 0.5
        return self.near + (torch.arange(self.count) + shift) * self.step

    def index(self, depth: Tensor) -> Tensor:
        """Return the bin of each depth in metres, int64; -1 outside."""
        place = ((depth - self.near) / self.step).floor().long()
        return torch.where((place >= 0) & (place < self.count), place, -1)


def pixel_frustum(
    bins: DepthBins,
    feature_shape: tuple[int, int],
    image_shape: tuple[int, int],
    official_parity: bool = False,
) -> Tensor:
    """Return u, v and depth of every lifted point, (D, H, W, 3).

    A whole number is the middle of a pixel. A feature stands for the middle of the square of pixels
    that it covers.

    Args:
        bins: Of the depth.
        feature_shape: (H, W) of the features.
        image_shape: (H, W) of the network's image.
        official_parity: The first and last feature stand for the first and last pixel, as in the
            published code, and depths are those of `DepthBins.values` there.
    """
    axes = []
    for cells, pixels in zip(feature_shape, image_shape):
        if official_parity:
            axes.append(torch.linspace(0, pixels - 1, cells))
        else:
            axes.append((torch.arange(cells) + 0.5) * (pixels / cells) - 0.5)
    depth, v, u = torch.meshgrid(bins.values(official_parity), *axes, indexing="ij")
    return torch.stack([u, v, depth], -1)
