"""From image features with a depth distribution to a bird's-eye-view map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmdet3d.registry import MODELS
from torch import Tensor, nn

from kd3d.errors import UserError, did_you_mean
from kd3d.models.bev.cameras import Cameras
from kd3d.models.bev.frustum import DepthBins, pixel_frustum
from kd3d.models.bev.grid import BEVGrid, Bounds
from kd3d.models.bev.pooling import bev_pool

FRAMES = ("lidar", "ego")


@MODELS.register_module()
class LiftSplat(nn.Module):
    """Lift pixels along their rays by a depth distribution, sum them in the cells of a map.

    J. Philion, S. Fidler, "Lift, Splat, Shoot", ECCV 2020; J. Huang et al., "BEVDet:
    High-performance multi-camera 3D object detection in bird-eye-view", arXiv:2112.11790.
    It has no weights. The map lies in the frame of the augmented LiDAR cloud, or in the car's.

    Args:
        x: [low, high, cell] in metres.
        y: Likewise.
        z: Likewise; layers are joined along the channels.
        depth: [nearest, farthest, bin] in metres.
        frame: ``"lidar"``, or ``"ego"`` for a teacher that was trained in the car's frame (see
            ``Frozen(frame="ego")``); boxes stay in the LiDAR's, so it cannot be trained here.
        official_parity: As the published code: bins are lifted at their near ends, the outer
            features stand for the outer pixels, and cells are found by rounding towards zero. By
            default bins at their middles, features at the middles of what they cover, floor.
        mean_smoothing: None: a cell has the sum of its features, as published, which is largest
            near the cameras, where many pixels see it. A number a > 0: their mean under the depth's
            probability, sum_i p_i f_i / (a + sum_i p_i), so that a cell of which little is seen
            stays near 0; each layer of z for itself. kd3d's own, no paper's.

    Attributes:
        grid: Of the map; also what says where this detector's maps lie in metres.
        bins: Of the depth.

    Raises:
        UserError: An unknown frame, bounds that are no whole number of steps, a = 0 or less.
    """

    def __init__(
        self,
        x: Bounds,
        y: Bounds,
        z: Bounds,
        depth: Bounds,
        frame: str = "lidar",
        official_parity: bool = False,
        mean_smoothing: float | None = None,
    ) -> None:
        super().__init__()
        if mean_smoothing is not None and not mean_smoothing > 0:
            hint = "give a number above 0, or None for sums"
            raise UserError(f"{mean_smoothing}", "view_transform.mean_smoothing", hint)
        if frame not in FRAMES:
            hint = did_you_mean(frame, FRAMES)
            raise UserError(f"unknown frame {frame!r}", "view_transform.frame", hint)
        self.frame = frame
        self.grid = BEVGrid.of(x, y, z)
        self.bins = DepthBins(depth, "view_transform.depth")
        self.official_parity = official_parity
        self.mean_smoothing = mean_smoothing

    def cells(
        self,
        cameras: Cameras,
        features: Tensor,
        image_shape: tuple[int, int],
        grid: BEVGrid | None = None,
    ) -> Tensor:
        """Return the (B, N, D, H, W) cells of all lifted points, see `BEVGrid.cells`.

        Args:
            cameras: Of the batch.
            features: (..., H, W), on the image plane.
            image_shape: (H, W) of the network's image.
            grid: Whose cells; None: the map's own.
        """
        height, width = features.shape[-2:]
        frustum = pixel_frustum(self.bins, (height, width), image_shape, self.official_parity)
        points = cameras.lift(frustum.to(features.device))
        return (grid or self.grid).cells(points, self.official_parity)

    def occupancy(
        self,
        depth: Tensor,
        metas: Sequence[Mapping[str, Any]],
        image_shape: tuple[int, int],
        bounds: tuple[Bounds, Bounds, Bounds],
    ) -> Tensor:
        """Return the (B, Z, Y, X) sums of the probability of depth that falls into each voxel.

        Args:
            depth: (B N, D, H, W) probabilities of the bins.
            metas: Metainfo of the samples, see `Cameras.of`.
            image_shape: (H, W) of the network's image.
            bounds: [low, high, edge] along x, y and z in metres, in the augmented LiDAR's frame.
        """
        grid, ones = BEVGrid.of(*bounds, "occupancy"), torch.ones_like(depth[:, :1])
        cell = self.cells(Cameras.of(metas), depth, image_shape, grid)
        columns, rows, layers = grid.count
        voxels = len(cell) * layers * rows * columns
        sums = bev_pool(depth, ones, cell.flatten(0, 1), voxels)
        return sums.view(len(cell), layers, rows, columns)

    def forward(
        self, depth: Tensor, context: Tensor, cameras: Cameras, image_shape: tuple[int, int]
    ) -> Tensor:
        """Return the map (B, Z C, Y, X).

        Args:
            depth: (B N, D, H, W) probabilities of the bins.
            context: (B N, C, H, W) features.
            cameras: Of the batch.
            image_shape: (H, W) of the network's image.
        """
        cell = self.cells(cameras, context, image_shape)
        samples = len(cell)
        columns, rows, layers = self.grid.count
        if self.mean_smoothing is not None:
            context = torch.cat([context, torch.ones_like(context[:, :1])], 1)
        sums = bev_pool(depth, context, cell.flatten(0, 1), samples * layers * rows * columns)
        if self.mean_smoothing is not None:
            sums = sums[:, :-1] / (sums[:, -1:] + self.mean_smoothing)
        return self.grid.maps(sums, samples)
