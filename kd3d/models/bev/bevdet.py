"""BEVDet: multi-view images to boxes in the bird's-eye view."""

from __future__ import annotations

from typing import Any

import torch
from mmdet3d.models import MVXTwoStageDetector
from mmdet3d.registry import MODELS
from torch import Tensor

from kd3d.errors import UserError, did_you_mean
from kd3d.models.bev.cameras import Cameras
from kd3d.models.bev.depth_loss import KINDS, depth_loss

_FIX = "add dict(type='DepthMaps', ...) to the training pipeline, or leave depth_loss out"


@MODELS.register_module()
class BEVDet(MVXTwoStageDetector):
    """A camera detector: image backbone and neck, lift-splat, BEV encoder, centre head.

    J. Huang et al., "BEVDet: High-performance multi-camera 3D object detection in bird-eye-view",
    arXiv:2112.11790; with `depth_loss` and a ``CameraAwareDepthNet``, Y. Li et al., "BEVDepth",
    AAAI 2023. Its parts have the names of mmdet3d's multi-modal family, so any backbone, neck and
    centre head of mmdet or mmdet3d goes in by config, and the training and test configs are under
    ``pts``. The BEV map is (B, C, Y, X), in the frame of the augmented LiDAR cloud.

    Args:
        img_backbone: Of mmdet or mmdet3d.
        img_depth_net: ``DepthNet`` or ``CameraAwareDepthNet``; `depth_bins` is filled in.
        view_transform: ``LiftSplat``.
        img_neck: Of mmdet or mmdet3d.
        level: Which of the neck's (or backbone's) maps is lifted.
        depth_loss: None, or ``dict(weight=3.0, kind="binary")``, see
            `kd3d.models.bev.depth_loss.depth_loss`; the pipeline then makes depth maps.
        **options: Of mmdet3d's ``MVXTwoStageDetector``: ``pts_backbone``, ``pts_neck``,
            ``pts_bbox_head``, ``train_cfg``, ``test_cfg``, ``data_preprocessor``, ``init_cfg``.

    Raises:
        UserError: An unknown kind of depth loss.
    """

    def __init__(
        self,
        img_backbone: dict,
        img_depth_net: dict,
        view_transform: dict,
        img_neck: dict | None = None,
        level: int = 0,
        depth_loss: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(img_backbone=img_backbone, img_neck=img_neck, **options)
        self.view_transform = MODELS.build(view_transform)
        bins = self.view_transform.bins.count
        self.img_depth_net = MODELS.build({**img_depth_net, "depth_bins": bins})
        self.level = level
        self.depth_loss: dict[str, Any] | None = None
        if depth_loss is not None:
            self.depth_loss = {"weight": 3.0, "kind": KINDS[0], **depth_loss}
            kind = self.depth_loss["kind"]
            if kind not in KINDS:
                hint = did_you_mean(kind, KINDS)
                raise UserError(f"unknown kind {kind!r}", "model.depth_loss", hint)

    def extract_feat(
        self, batch_inputs_dict: dict, batch_input_metas: list[dict]
    ) -> tuple[tuple[Tensor], list[Tensor] | None]:
        """Return the depth logits (B N, D, H, W) and the maps that a head, if any, reads."""
        logits, bev = self.camera_map(batch_inputs_dict["imgs"], batch_input_metas)
        return (logits,), self.encode(bev)

    def camera_map(self, images: Tensor, metas: list[dict]) -> tuple[Tensor, Tensor]:
        """Return depth logits (B N, D, H, W) and the lifted map (B, C, Y, X); see `look`."""
        logits, context, cameras = self.look(images, metas)
        depth = logits.float().softmax(1)
        return logits, self.view_transform(depth, context, cameras, tuple(images.shape[-2:]))

    def look(self, images: Tensor, metas: list[dict]) -> tuple[Tensor, Tensor, Cameras]:
        """Return depth logits (B N, D, H, W), what is lifted (B N, C, H, W), and the cameras.

        Args:
            images: (B, N, 3, H, W), as the preprocessor stacks them.
            metas: Metainfo of the samples, see `Cameras.of`.

        Raises:
            UserError: Single images, or other numbers of images and calibrations.
        """
        cameras = Cameras.of(metas, self.view_transform.frame)
        if images.dim() != 5 or images.shape[1] != cameras.cam2img.shape[1]:
            raise UserError(
                f"images {tuple(images.shape)} for {cameras.cam2img.shape[1]} cameras",
                type(self).__name__,
                "load them with LoadSurroundImages",
            )
        features = self.img_backbone(images.flatten(0, 1))
        if self.with_img_neck:
            features = self.img_neck(features)
        return *self.img_depth_net(features[self.level], cameras), cameras

    def encode(self, bev: Tensor) -> list[Tensor]:
        """Return the maps that the head reads, of the map (B, C, Y, X)."""
        maps = self.pts_backbone(bev)
        return list(self.pts_neck(maps) if self.with_pts_neck else maps)

    def loss(self, batch_inputs_dict: dict, batch_data_samples: list, **kwargs: Any) -> dict:
        """Return mmdet3d's losses, and that of the depth.

        Raises:
            UserError: The map lies in the car's frame, the boxes in the LiDAR's.
        """
        if self.view_transform.frame != "lidar":
            raise UserError(
                "boxes are in the LiDAR's frame",
                "view_transform.frame",
                "train with frame='lidar'; frame='ego' is for teachers that were trained there",
            )
        return super().loss(batch_inputs_dict, batch_data_samples, **kwargs)

    def loss_imgs(self, x: tuple[Tensor], batch_data_samples: list, **kwargs: Any) -> dict:
        """Return the depth loss, where one is wanted; called by mmdet3d's ``loss``.

        Raises:
            UserError: The samples have no depth maps.
        """
        if self.depth_loss is None:
            return {}
        for sample in batch_data_samples:
            if "gt_depth_maps" not in sample:
                raise UserError("a sample has no depth maps", "model.depth_loss", _FIX)
        maps = [sample.gt_depth_maps.to(x[0].device) for sample in batch_data_samples]
        value = depth_loss(x[0], torch.cat(maps), self.view_transform.bins, self.depth_loss["kind"])
        return {"loss_depth": self.depth_loss["weight"] * value}
