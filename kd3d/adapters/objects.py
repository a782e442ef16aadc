"""Feature vectors of objects: at their centres, at a grid of points in them, or whole cells."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from kd3d.core.spec import Extent


def object_rows(
    feature: Tensor, centres: Sequence[Tensor], extent: Extent, padding: str = "border"
) -> Tensor:
    """Read a bird's-eye-view map at points, bilinearly, in metres.

    Args:
        feature: (B, C, H, W), H along y and W along x.
        centres: A sample's (N_b, 2) x and y in metres, one entry a sample.
        extent: (x_min, y_min, x_max, y_max) of the map in metres.
        padding: What is read outside: ``border``: the nearest cell; ``zeros``.

    Returns:
        (sum N_b, C), samples one after another.
    """
    low = feature.new_tensor(extent[:2])
    size = feature.new_tensor(extent[2:]) - low
    rows = []
    for sample, points in zip(feature, centres):
        grid = 2 * (points.to(feature) - low) / size - 1
        found = F.grid_sample(
            sample[None], grid[None, None], "bilinear", padding, align_corners=False
        )
        rows.append(found[0, :, 0].t())
    return torch.cat(rows)


def box_points(boxes: Tensor, points: int, rim: bool = False) -> Tensor:
    """Return a regular grid of points in rotated boxes, seen from above.

    Args:
        boxes: (N, >=7) [x, y, z, dx, dy, dz, yaw, ...], metres and radians.
        points: G, points along each side; each is the centre of one of G x G equal parts.
        rim: The outer points lie on the box's sides instead (G of at least 2).

    Returns:
        (N, G * G, 2) x and y in metres; the points along the box's length are neighbours.
    """
    place = (torch.arange(points, device=boxes.device) + 0.5) / points - 0.5
    if rim:
        place = place * points / (points - 1)
    across, along = torch.meshgrid(place, place, indexing="ij")
    x = along.flatten() * boxes[:, 3:4]  # (N, G * G)
    y = across.flatten() * boxes[:, 4:5]
    cosine, sine = boxes[:, 6:7].cos(), boxes[:, 6:7].sin()
    turned = torch.stack([x * cosine - y * sine, x * sine + y * cosine], -1)
    return turned + boxes[:, None, :2]


def rows_at(feature: Tensor, cells: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Read whole cells, padded to the largest number of a sample.

    Args:
        feature: (B, C, M), M cells.
        cells: A sample's (N_b,) indices into M, one entry a sample.

    Returns:
        Rows (B, N, C) with N = max(1, max N_b), zeros where a sample has fewer (attached to the
        feature); weights (B, N) of 1 for a row and 0 for padding.
    """
    slots = max(1, *(len(sample) for sample in cells))
    index = torch.zeros((len(feature), slots), dtype=torch.long, device=feature.device)
    weight = feature.new_zeros(index.shape)
    for i, sample in enumerate(cells):
        index[i, : len(sample)] = sample
        weight[i, : len(sample)] = 1.0
    rows = feature.gather(2, index[:, None].expand(-1, feature.shape[1], -1)).transpose(1, 2)
    return rows * weight[..., None], weight
