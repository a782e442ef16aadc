"""Where objects are in space."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kd3d.masks.boxes import Extent, bumps, centre_cells, gaussian_radius


def gaussian_solid(
    boxes: Sequence[Tensor],
    extent: Extent,
    z_m: tuple[float, float],
    shape: tuple[int, int, int],
    min_overlap: float = 0.1,
    min_radius: int = 2,
) -> Tensor:
    """Return the highest Gaussian of the boxes in each voxel.

    Seen from above it is that of `kd3d.masks.boxes.gaussian_mask`. Along z its radius is half the
    box's height, at least one voxel, about the box's middle.

    Args:
        boxes: A sample's (N, >=7) boxes [x, y, z_bottom, dx, dy, dz, yaw, ...], one entry a sample.
        extent: (x_min, y_min, x_max, y_max) in metres.
        z_m: (z_min, z_max) in metres.
        shape: (Z, Y, X) voxels.
        min_overlap: See `gaussian_mask`.
        min_radius: See `gaussian_mask`.

    Returns:
        (B, Z, Y, X) in 0..1.
    """
    layers, height, width = shape
    cell_x, cell_y = (extent[2] - extent[0]) / width, (extent[3] - extent[1]) / height
    cell_z = (z_m[1] - z_m[0]) / layers
    solids = []
    for sample in boxes:
        sample, solid = sample.float(), torch.zeros(shape, device=sample.device)
        row, column, keep = centre_cells(sample, extent, (height, width))
        layer = ((sample[:, 2] + sample[:, 5] / 2 - z_m[0]) / cell_z).floor()
        keep &= (layer >= 0) & (layer < layers)
        row, column, layer, sample = row[keep], column[keep], layer[keep], sample[keep]
        radius = gaussian_radius(sample[:, 3] / cell_x, sample[:, 4] / cell_y, min_overlap)
        radius = radius.floor().clamp(min=min_radius)
        tall = (sample[:, 5] / cell_z / 2).ceil().clamp(min=1)
        parts = bumps(layer, tall, layers), bumps(row, radius, height), bumps(column, radius, width)
        for up, across, along in zip(*parts):
            torch.maximum(solid, up[:, None, None] * across[:, None] * along, out=solid)
        solids.append(solid)
    return torch.stack(solids)
