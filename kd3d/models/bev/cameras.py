"""The cameras of a batch: where their pixels look, with both augmentations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kd3d.data.augmentation import full_matrix, sample_augmentation
from kd3d.errors import UserError


@dataclass(frozen=True)
class Cameras:
    """Calibration and augmentation of (B, N) cameras, float64 on the CPU until used.

    Attributes:
        cam2lidar: (B, N, 4, 4) from camera to LiDAR, the ego's motion between both shots included.
        cam2img: (B, N, 3, 3) from camera to pixels of the image as it was taken.
        img_aug: (B, N, 4, 4) from (u, v, depth) there to (u, v, depth) in the network's image.
        lidar_aug: (B, 4, 4) augmentation of the sample in the LiDAR frame.
    """

    cam2lidar: Tensor
    cam2img: Tensor
    img_aug: Tensor
    lidar_aug: Tensor

    @classmethod
    def of(cls, metas: Sequence[Mapping[str, Any]], frame: str = "lidar") -> Cameras:
        """Read the metainfo of a batch's samples.

        ``lidar2cam`` and ``cam2img`` (one a camera, 3x3 or 4x4) are those of mmdet3d's infos,
        ``img_aug_matrix`` (one a camera) is written by ``LoadSurroundImages``; for the LiDAR's
        augmentation see `kd3d.data.augmentation.sample_augmentation`.

        Args:
            metas: See above.
            frame: ``"ego"``: lift to the car's frame, by ``lidar2ego`` after the augmentation.

        Raises:
            UserError: Something is missing, or samples with other numbers of cameras.
        """
        lidar2cam, cam2img, img_aug = (
            _stacked(metas, key) for key in ("lidar2cam", "cam2img", "img_aug_matrix")
        )
        lidar_aug = torch.from_numpy(np.stack([sample_augmentation(meta) for meta in metas]))
        if frame == "ego":
            lidar_aug = _one_each(metas, "lidar2ego") @ lidar_aug
        return cls(torch.linalg.inv(lidar2cam), cam2img[..., :3, :3], img_aug, lidar_aug)

    @property
    def pixel_to_bev(self) -> Tensor:
        """(B, N, 4, 4) from (u d, v d, d, 1), of the image as it was taken, to the BEV's frame."""
        inverse = torch.eye(4, dtype=self.cam2img.dtype).repeat(*self.cam2img.shape[:2], 1, 1)
        inverse[..., :3, :3] = torch.linalg.inv(self.cam2img)
        return self.lidar_aug[:, None] @ self.cam2lidar @ inverse

    def lift(self, frustum: Tensor) -> Tensor:
        """Return where pixels of a given depth lie.

        Args:
            frustum: (D, H, W, 3): u and v in the network's image, depth in metres.

        Returns:
            (B, N, D, H, W, 3) metres, in the augmented LiDAR frame.
        """
        undo = torch.linalg.inv(self.img_aug).to(frustum)
        place = _apply(undo, frustum.reshape(-1, 3))
        place = torch.cat([place[..., :2] * place[..., 2:], place[..., 2:]], -1)
        place = _apply(self.pixel_to_bev.to(frustum), place)
        return place.view(*place.shape[:2], *frustum.shape)

    def numbers(self) -> Tensor:
        """Return what a camera-aware network may know, (B N, 34) float32.

        fx, fy, cx, cy; the image augmentation's 2x3 part; camera to LiDAR and the LiDAR
        augmentation, 3x4 each.
        """
        focal = torch.stack([self.cam2img[..., i, j] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2))])
        image = self.img_aug[..., :2, [0, 1, 3]].flatten(-2)
        scene = self.lidar_aug[:, None, :3].expand_as(self.cam2lidar[..., :3, :])
        parts = [focal.movedim(0, -1), image, self.cam2lidar[..., :3, :].flatten(-2)]
        return torch.cat([*parts, scene.flatten(-2)], -1).flatten(0, 1).float()


def _apply(matrix: Tensor, points: Tensor) -> Tensor:
    """Move points (P, 3), or (B, N, P, 3), by (B, N, 4, 4)."""
    return points @ matrix[..., :3, :3].transpose(-1, -2) + matrix[..., None, :3, 3]


def _one_each(metas: Sequence[Mapping[str, Any]], key: str) -> Tensor:
    """Return (B, 4, 4) float64 of one matrix a sample."""
    return _stacked([{**meta, key: [meta[key]] if key in meta else None} for meta in metas], key)[
        :, 0
    ]


def _stacked(metas: Sequence[Mapping[str, Any]], key: str) -> Tensor:
    """Return (B, N, 4, 4) float64 of the samples' matrices."""
    fix = "load images with LoadSurroundImages and pack them with PackBranches"
    samples = []
    for meta in metas:
        if meta.get(key) is None:
            raise UserError(f"the sample has no {key}", meta.get("sample_idx", "sample"), fix)
        samples.append(np.stack([full_matrix(one) for one in meta[key]]))
    if len({len(one) for one in samples}) != 1:
        raise UserError(f"samples of {[len(one) for one in samples]} cameras in one batch", key)
    return torch.from_numpy(np.stack(samples))
