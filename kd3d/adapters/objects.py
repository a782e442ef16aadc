"""Feature vectors at the centres of objects."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from kd3d.core.spec import Extent


def object_rows(feature: Tensor, centres: Sequence[Tensor], extent: Extent) -> Tensor:
    """Read a bird's-eye-view map at points, bilinearly, in metres.

    Args:
        feature: (B, C, H, W), H along y and W along x.
        centres: A sample's (N_b, 2) x and y in metres, inside the extent, one entry a sample.
        extent: (x_min, y_min, x_max, y_max) of the map in metres.

    Returns:
        (sum N_b, C), samples one after another.
    """
    low = feature.new_tensor(extent[:2])
    size = feature.new_tensor(extent[2:]) - low
    rows = []
    for sample, points in zip(feature, centres):
        grid = 2 * (points.to(feature) - low) / size - 1
        found = F.grid_sample(
            sample[None], grid[None, None], "bilinear", "border", align_corners=False
        )
        rows.append(found[0, :, 0].t())
    return torch.cat(rows)
