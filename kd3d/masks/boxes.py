"""Masks on a bird's-eye-view grid from ground-truth boxes.

Maps are (B, 1, H, W), H along y and W along x; a cell is judged by its centre. An extent is
(x_min, y_min, x_max, y_max) in metres.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Extent = tuple[float, float, float, float]


def cell_centres(
    extent: Extent, shape: tuple[int, int], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return the x (W,) and y (H,) of the cell centres in metres."""
    x_min, y_min, x_max, y_max = extent
    height, width = shape
    x = x_min + (torch.arange(width, device=device) + 0.5) * ((x_max - x_min) / width)
    y = y_min + (torch.arange(height, device=device) + 0.5) * ((y_max - y_min) / height)
    return x, y


def box_mask(
    boxes: Sequence[Tensor], extent: Extent, shape: tuple[int, int], grow_m: float = 0.0
) -> Tensor:
    """Return 1 where a cell's centre lies in a rotated box, else 0.

    Args:
        boxes: A sample's (N, >=7) boxes [x, y, z, dx, dy, dz, yaw, ...], one entry a sample.
        extent: Metric extent of the map.
        shape: (H, W).
        grow_m: Metres added on every side of a box, so that thin objects keep a cell.

    Returns:
        (B, 1, H, W) float mask.
    """
    masks = []
    for sample in boxes:
        masks.append(inside_boxes(sample, extent, shape, grow_m).any(0).float())
    return torch.stack(masks).unsqueeze(1)


def inside_boxes(
    boxes: Tensor, extent: Extent, shape: tuple[int, int], grow_m: float = 0.0
) -> Tensor:
    """Return whether each cell's centre lies in each rotated box: (N, H, W) of (N, >=7) boxes."""
    along, across = in_box_frame(boxes, extent, shape)
    half = boxes[:, 3:5].float() / 2 + grow_m
    return (along.abs() <= half[:, 0, None, None]) & (across.abs() <= half[:, 1, None, None])


def gaussian_mask(
    boxes: Sequence[Tensor],
    extent: Extent,
    shape: tuple[int, int],
    min_overlap: float = 0.1,
    min_radius: int = 2,
    border: bool = False,
) -> Tensor:
    """Return the class-agnostic CenterPoint heat map of the boxes: the maximum of their Gaussians.

    The Gaussian sits on the cell that holds the box centre and has the standard deviation
    (2 r + 1) / 6 cells inside a square of radius r cells, with r from `gaussian_radius`.
    T. Yin et al., "Center-based 3D object detection and tracking", CVPR 2021, section 4.

    Args:
        boxes: A sample's (N, >=7) boxes, one entry a sample.
        extent: Metric extent of the map.
        shape: (H, W).
        min_overlap: Overlap that a box displaced by the radius still has.
        min_radius: Lower bound of the radius in cells.
        border: See `centre_cells`.

    Returns:
        (B, 1, H, W) float mask, 1 at box centres.
    """
    x_min, y_min, x_max, y_max = extent
    height, width = shape
    cell_x, cell_y = (x_max - x_min) / width, (y_max - y_min) / height
    masks = []
    for sample in boxes:
        sample = sample.float()
        row, column, keep = centre_cells(sample, extent, shape, border)
        column, row, sample = column[keep], row[keep], sample[keep]
        if not len(sample):
            masks.append(torch.zeros(shape, device=sample.device))
            continue
        radius = gaussian_radius(sample[:, 3] / cell_x, sample[:, 4] / cell_y, min_overlap)
        radius = radius.floor().clamp(min=min_radius)
        mask = sample.new_zeros(shape)
        along = bumps(column, radius, width)  # a Gaussian on cells is the product of two
        for across_y, along_x in zip(bumps(row, radius, height), along):
            torch.maximum(mask, across_y[:, None] * along_x, out=mask)
        masks.append(mask)
    return torch.stack(masks).unsqueeze(1)


def centre_cells(
    boxes: Tensor, extent: Extent, shape: tuple[int, int], border: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Return row (N,) and column (N,) of the cells that hold the boxes' centres, and which do.

    Args:
        boxes: (N, >=7) of one sample.
        extent: Metric extent of the map.
        shape: (H, W).
        border: Move a centre outside the map to the nearest cell at the border (OpenPCDet),
            instead of leaving it out (mmdet3d).

    Returns:
        Rows and columns, int64 (meaningless where not kept), and (N,) bool: the centre lies on the
        map and the box has a length and a width.
    """
    height, width = shape
    column = torch.floor((boxes[:, 0] - extent[0]) / ((extent[2] - extent[0]) / width))
    row = torch.floor((boxes[:, 1] - extent[1]) / ((extent[3] - extent[1]) / height))
    keep = (boxes[:, 3] > 0) & (boxes[:, 4] > 0)
    if border:
        row, column = row.clamp(0, height - 1), column.clamp(0, width - 1)
    keep &= (column >= 0) & (column < width) & (row >= 0) & (row < height)  # false for NaN
    return row.long(), column.long(), keep


def class_gaussians(
    boxes: Sequence[Tensor],
    labels: Sequence[Tensor],
    classes: int,
    extent: Extent,
    shape: tuple[int, int],
    border: bool = False,
) -> Tensor:
    """Return the (B, K, H, W) CenterPoint heat maps of the boxes, one a class.

    Args:
        boxes: As in `gaussian_mask`.
        labels: A sample's (N,) class indices, one entry a sample.
        classes: K.
        extent: Metric extent of the map.
        shape: (H, W).
        border: See `centre_cells`.
    """
    maps = []
    for label in range(classes):
        chosen = [box[of.to(box.device) == label] for box, of in zip(boxes, labels)]
        maps.append(gaussian_mask(chosen, extent, shape, border=border))
    return torch.cat(maps, 1)


def bumps(centre: Tensor, radius: Tensor, count: int) -> Tensor:
    """Return (N, count): exp(-d^2 / 2 sigma^2) of the distance d to each centre, 0 past radius."""
    distance = torch.arange(count, device=centre.device) - centre[:, None]
    sigma = (2 * radius[:, None] + 1) / 6
    bump = torch.exp(-distance.square() / (2 * sigma.square()))
    return torch.where(distance.abs() <= radius[:, None], bump, bump.new_zeros(()))


def gaussian_radius(length: Tensor, width: Tensor, min_overlap: float) -> Tensor:
    """Return the largest displacement in cells that keeps `min_overlap`, for (N,) sizes in cells.

    H. Law, J. Deng, "CornerNet: Detecting objects as paired keypoints", ECCV 2018, section 3.2:
    the smallest over three cases of corner displacement. As in the field's common code the roots
    are divided by 2 instead of 2a in the second and third case, so that radii agree with the heat
    maps that detectors are trained on.
    """
    total = length + width
    area = length * width
    ratio = (1 - min_overlap) / (1 + min_overlap)
    both_corners = (total + (total.square() - 4 * area * ratio).clamp(min=0).sqrt()) / 2
    shrunk = (
        2 * total + (4 * total.square() - 16 * (1 - min_overlap) * area).clamp(min=0).sqrt()
    ) / 2
    b = -2 * min_overlap * total
    c = (min_overlap - 1) * area
    grown = (b + (b.square() - 16 * min_overlap * c).clamp(min=0).sqrt()) / 2
    return torch.minimum(torch.minimum(both_corners, shrunk), grown)


def in_box_frame(boxes: Tensor, extent: Extent, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return each cell's offset along and across each box, (N, H, W), in metres."""
    x, y = cell_centres(extent, shape, boxes.device)
    boxes = boxes.float()
    dx = x[None, None, :] - boxes[:, 0, None, None]
    dy = y[None, :, None] - boxes[:, 1, None, None]
    cosine, sine = boxes[:, 6].cos()[:, None, None], boxes[:, 6].sin()[:, None, None]
    return dx * cosine + dy * sine, dy * cosine - dx * sine
