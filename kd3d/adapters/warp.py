"""Reading a bird's-eye-view map from another frame: another sensor's, or the car's a moment ago."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

Extent = tuple[float, float, float, float]


def warp_map(
    feature: Tensor,
    to_source: Tensor,
    source_m: Extent,
    target_m: Extent,
    shape: tuple[int, int],
    official_parity: bool = False,
) -> tuple[Tensor, Tensor]:
    """Read a map bilinearly at the cells of another map, whose frame is another.

    Args:
        feature: (B, C, H_source, W_source).
        to_source: (B, 4, 4), (B, 3, 3) or (1, ...): moves a place of the target's frame to the
            source's; of 4x4 the part in the plane counts, at a height of 0.
        source_m: (x_min, y_min, x_max, y_max) that the source covers, in its frame.
        target_m: That of the target, in its frame.
        shape: (H, W) of the target.
        official_parity: As BEVDet4D's code: a cell stands for its lower corner. Under a rotation
            this is half a cell off at the far sides.

    Returns:
        (B, C, H, W), zero outside the source, and (B, 1, H, W): 1 where a cell's centre lies in the
        source, else 0. With `official_parity` what is read fades to 0 within a cell of the border.
    """
    height, width = shape
    rows, columns = feature.shape[-2:]
    matrix = to_source.to(feature.device, torch.float64)
    middle = 0.0 if official_parity else 0.5
    cells = (torch.arange(n, dtype=torch.float64, device=feature.device) for n in (width, height))
    x, y = (
        low + (index + middle) * (high - low) / len(index)
        for index, low, high in zip(cells, target_m[:2], target_m[2:])
    )
    place = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], -1)
    rotation, shift = matrix[:, None, :2, :2], matrix[:, None, None, :2, -1]
    place = place @ rotation.transpose(-1, -2) + shift  # (B, H, W, 2)
    corner = place.new_tensor(source_m[:2])
    unit = (place - corner) / (place.new_tensor(source_m[2:]) - corner)  # 0..1 in the source
    inside = ((unit >= 0) & (unit <= 1)).all(-1)[:, None].to(feature.dtype)
    if official_parity:
        counts = unit.new_tensor([columns, rows])
        grid = 2 * unit * counts / (counts - 1) - 1
        grid = grid.to(feature.dtype).expand(len(feature), -1, -1, -1)
        return F.grid_sample(feature, grid, "bilinear", "zeros", align_corners=True), inside
    grid = (2 * unit - 1).to(feature.dtype).expand(len(feature), -1, -1, -1)
    read = F.grid_sample(feature, grid, "bilinear", "border", align_corners=False)
    return read * inside, inside.expand(len(feature), -1, -1, -1)
