"""Where objects are and where they were."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kd3d.masks.boxes import Extent, gaussian_mask


def trajectory_mask(
    boxes: Sequence[Tensor],
    velocities: Sequence[Tensor],
    extent: Extent,
    shape: tuple[int, int],
    frames: int = 9,
    interval_s: float = 0.5,
    min_overlap: float = 0.1,
    min_radius: int = 2,
) -> Tensor:
    """Return the highest Gaussian of the boxes' present and past places.

    The mask of L. Huang et al., "Leveraging vision-centric multi-modal expertise for 3D object
    detection" (VCD), NeurIPS 2023, there from the boxes of earlier frames; here an object is taken
    to have moved at its present velocity. A place on the map counts once, whatever the ego motion.

    Args:
        boxes: A sample's (N, >=7) boxes, one entry a sample.
        velocities: A sample's (N, 2) vx, vy in metres a second along the map's axes, one entry a
            sample; empty: all objects stand.
        extent: (x_min, y_min, x_max, y_max) of the map in metres.
        shape: (H, W).
        frames: The present one included.
        interval_s: Between frames.
        min_overlap: See `gaussian_mask`.
        min_radius: See `gaussian_mask`.

    Returns:
        (B, 1, H, W) in 0..1.
    """
    known = frames if len(velocities) else 1
    several = []
    for i, sample in enumerate(boxes):
        places = [sample]
        for frame in range(1, known):
            back = -frame * interval_s * velocities[i].to(sample)
            moved = torch.cat([sample[:, :2] + back, sample[:, 2:]], 1)
            places.append(moved[back.abs().sum(1) > 0])
        several.append(torch.cat(places))
    return gaussian_mask(several, extent, shape, min_overlap, min_radius)
