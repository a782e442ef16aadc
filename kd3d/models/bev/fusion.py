"""Camera and LiDAR joined in the bird's-eye view."""

from __future__ import annotations

from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmdet3d.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from kd3d.errors import UserError, did_you_mean
from kd3d.models.bev.bevdet import BEVDet

MODES = ("concat", "gated")


@MODELS.register_module()
class BEVFuser(BaseModule):
    """Join a LiDAR map and a camera map of one extent.

    Z. Liu et al., "BEVFusion: Multi-task multi-sensor fusion with unified bird's-eye view
    representation", ICRA 2023: both are concatenated and convolved (``concat``). ``gated``: both
    are projected, and a gate in 0..1 for every cell and channel, from both, says how much of the
    LiDAR's is taken; the rest is the camera's.

    Args:
        lidar_channels: Of the LiDAR map.
        camera_channels: Of the camera map.
        out_channels: Of the joint map.
        mode: ``"concat"`` or ``"gated"``.
        lidar_stride: How many times finer the LiDAR map is, a power of 2; it is convolved down.
        norm_cfg: mmcv's.
        init_cfg: mmengine's.

    Raises:
        UserError: An unknown mode, or a stride that is no power of 2.
    """

    def __init__(
        self,
        lidar_channels: int,
        camera_channels: int,
        out_channels: int,
        mode: str = "concat",
        lidar_stride: int = 1,
        norm_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if mode not in MODES:
            raise UserError(f"unknown mode {mode!r}", "bev_fuser.mode", did_you_mean(mode, MODES))
        if lidar_stride < 1 or lidar_stride & (lidar_stride - 1):
            raise UserError(f"{lidar_stride} is no power of 2", "bev_fuser.lidar_stride")
        norm = norm_cfg or dict(type="BN")
        steps, width = lidar_stride.bit_length() - 1, lidar_channels
        self.down = nn.Sequential(
            *(ConvModule(width, width, 3, stride=2, padding=1, norm_cfg=norm) for _ in range(steps))
        )
        self.mode, self.lidar_stride = mode, lidar_stride
        if mode == "concat":
            joint = lidar_channels + camera_channels
            self.join = ConvModule(joint, out_channels, 3, padding=1, norm_cfg=norm)
        else:
            self.lidar = ConvModule(lidar_channels, out_channels, 3, padding=1, norm_cfg=norm)
            self.camera = ConvModule(camera_channels, out_channels, 3, padding=1, norm_cfg=norm)
            self.gate = nn.Conv2d(2 * out_channels, out_channels, 3, padding=1)

    def forward(self, lidar: Tensor, camera: Tensor) -> Tensor:
        """Return the joint map (B, C, Y, X).

        Args:
            lidar: (B, C, Y stride, X stride).
            camera: (B, C, Y, X).

        Raises:
            UserError: Maps that are not so.
        """
        want = tuple(self.lidar_stride * n for n in camera.shape[-2:])
        if tuple(lidar.shape[-2:]) != want:
            raise UserError(
                f"a LiDAR map of {tuple(lidar.shape[-2:])} cells, a camera map of "
                f"{tuple(camera.shape[-2:])}, lidar_stride {self.lidar_stride}",
                "bev_fuser",
            )
        lidar = self.down(lidar)
        if self.mode == "concat":
            return self.join(torch.cat([lidar, camera], 1))
        lidar, camera = self.lidar(lidar), self.camera(camera)
        gate = self.gate(torch.cat([lidar, camera], 1)).sigmoid()
        return gate * lidar + (1 - gate) * camera


@MODELS.register_module()
class BEVFusionDetector(BEVDet):
    """`BEVDet` that also sees the LiDAR: the lifted map and the voxels' map are joined.

    Args:
        bev_fuser: ``BEVFuser``.
        **options: Of `BEVDet`, and ``pts_voxel_encoder`` and ``pts_middle_encoder``, whose map is
            (B, C, Y, X), as those of mmdet3d's own detectors are.

    Raises:
        UserError: The voxels cover another extent than the lifted map.
    """

    def __init__(self, bev_fuser: dict, **options: Any) -> None:
        super().__init__(**options)
        self.bev_fuser = MODELS.build(bev_fuser)
        layer = self.data_preprocessor.voxel_layer
        low_high = [list(layer.point_cloud_range)[i] for i in (0, 1, 3, 4)]
        extent = self.view_transform.grid.extent_m
        if any(abs(float(a) - b) > 1e-3 for a, b in zip(low_high, extent)):
            raise UserError(
                f"voxels over {[round(float(a), 3) for a in low_high]} m, the lifted map over "
                f"{[round(b, 3) for b in extent]} m",
                "model.view_transform",
                "give both the same range along x and y",
            )

    def extract_feat(
        self, batch_inputs_dict: dict, batch_input_metas: list[dict]
    ) -> tuple[tuple[Tensor], list[Tensor]]:
        """Return the depth logits (B N, D, H, W) and the maps that the head reads."""
        logits, camera = self.camera_map(batch_inputs_dict["imgs"], batch_input_metas)
        lidar = self.lidar_map(batch_inputs_dict["voxels"], len(batch_input_metas))
        return (logits,), self.encode(self.bev_fuser(lidar, camera))

    def lidar_map(self, voxels: dict[str, Tensor], samples: int) -> Tensor:
        """Return the voxels' map (B, C, Y, X)."""
        rows = self.pts_voxel_encoder(voxels["voxels"], voxels["num_points"], voxels["coors"])
        return self.pts_middle_encoder(rows, voxels["coors"], samples)
