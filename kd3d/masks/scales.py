"""Foreground and background weights in which small objects count as much as large ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kd3d.masks.boxes import Extent, box_mask


def scale_masks(
    boxes: Sequence[Tensor], extent: Extent, shape: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    r"""Return weights of 1 / (cells of the object), and of 1 / (cells of the background).

    Z. Yang et al., "Focal and global knowledge distillation for detectors" (FGD), CVPR 2022,
    equations 2 to 4, with rotated boxes in metres. A box is grown by half a cell on every side, so
    that a thin object has cells; where objects overlap the smaller one decides.

    Args:
        boxes: A sample's (N, >=7) boxes [x, y, z, dx, dy, dz, yaw, ...], one entry a sample.
        extent: (x_min, y_min, x_max, y_max) of the map in metres.
        shape: (H, W).

    Returns:
        Foreground and background, (B, 1, H, W) each. A sample's foreground sums to its objects (or
        less, where they overlap), its background to 1, or 0 where objects cover everything.
    """
    cell_x = (extent[2] - extent[0]) / shape[1]
    cell_y = (extent[3] - extent[1]) / shape[0]
    grow_m = 0.5 * max(cell_x, cell_y)
    foreground = []
    for sample in boxes:
        if not len(sample):
            foreground.append(torch.zeros((1, *shape), device=sample.device))
            continue
        inside = box_mask(list(sample[:, None]), extent, shape, grow_m)  # (N, 1, H, W)
        area = inside.sum((2, 3), keepdim=True).clamp(min=1)
        foreground.append((inside / area).amax(0))
    return _with_background(torch.stack(foreground))


def upright_scale_masks(
    boxes: Sequence[Tensor], extent: Extent, shape: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Return the masks of FGD's released code: upright rectangles of whole cells.

    A rectangle reaches from the cell of the box's least x and y to the first cell past its largest
    ones, both included. Yaw is respected by taking the rectangle around the rotated box.

    Args:
        boxes: As in `scale_masks`.
        extent: As in `scale_masks`.
        shape: (H, W).

    Returns:
        As `scale_masks`.
    """
    x_min, y_min, x_max, y_max = extent
    height, width = shape
    size = ((x_max - x_min) / width, (y_max - y_min) / height)
    foreground = []
    for sample in boxes:
        sample = sample.float()
        cosine, sine = sample[:, 6].cos().abs(), sample[:, 6].sin().abs()
        weight = torch.zeros(shape, device=sample.device)
        spans = []
        for axis, low, count in ((0, x_min, width), (1, y_min, height)):
            along, across = (cosine, sine) if axis == 0 else (sine, cosine)
            half = (sample[:, 3] * along + sample[:, 4] * across) / 2
            first = torch.floor((sample[:, axis] - half - low) / size[axis])
            last = torch.ceil((sample[:, axis] + half - low) / size[axis])
            index = torch.arange(count, device=sample.device)
            inside = (index >= first[:, None]) & (index <= last[:, None])
            spans.append((inside.float(), last - first + 1))
        (columns, across), (rows, along) = spans
        if len(sample):
            inside = rows[:, :, None] * columns[:, None, :]
            weight = (inside / (across * along)[:, None, None]).amax(0)
        foreground.append(weight[None])
    return _with_background(torch.stack(foreground))


def _with_background(foreground: Tensor) -> tuple[Tensor, Tensor]:
    """Return the foreground and the (B, 1, H, W) background beside it."""
    background = (foreground == 0).float()
    return foreground, background / background.sum((2, 3), keepdim=True).clamp(min=1)
