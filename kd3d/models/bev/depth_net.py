"""From image features to a depth distribution and the features that are lifted with it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmdet3d.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from kd3d.models.bev.cameras import Cameras

CAMERA_NUMBERS = 34  # of `Cameras.numbers`
RATES = (6, 12, 18)  # of the dilated convolutions


@MODELS.register_module()
class DepthNet(BaseModule):
    """One 1x1 convolution, as in LSS and BEVDet.

    Args:
        in_channels: Of the image features.
        context_channels: C of the features that are lifted.
        depth_bins: D; given by the detector.
        init_cfg: mmengine's.
    """

    def __init__(
        self,
        in_channels: int,
        context_channels: int,
        depth_bins: int,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.depth_bins = depth_bins
        self.conv = nn.Conv2d(in_channels, depth_bins + context_channels, 1)

    def forward(self, features: Tensor, cameras: Cameras) -> tuple[Tensor, Tensor]:
        """Return logits (B N, D, H, W) and context (B N, C, H, W) of features (B N, C', H, W)."""
        made = self.conv(features)
        return made[:, : self.depth_bins], made[:, self.depth_bins :]


@MODELS.register_module()
class CameraAwareDepthNet(BaseModule):
    """A depth network that knows the cameras.

    Y. Li et al., "BEVDepth: Acquisition of reliable depth for multi-view 3D object detection", AAAI
    2023, section 3.3: calibration and augmentations, through a perceptron each, gate the channels
    of depth and context (squeeze and excitation); the depth branch goes on with residual blocks and
    dilated convolutions. The deformable convolution of the authors' code is left out.

    Args:
        in_channels: Of the image features.
        context_channels: C of the features that are lifted.
        depth_bins: D; given by the detector.
        mid_channels: Width within.
        blocks: Residual blocks of the depth branch.
        dilated: Whether it has dilated convolutions (atrous spatial pyramid pooling).
        norm_cfg: mmcv's.
        init_cfg: mmengine's.
    """

    def __init__(
        self,
        in_channels: int,
        context_channels: int,
        depth_bins: int,
        mid_channels: int = 256,
        blocks: int = 3,
        dilated: bool = True,
        norm_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        norm = norm_cfg or dict(type="BN")
        self.reduce = ConvModule(in_channels, mid_channels, 3, padding=1, norm_cfg=norm)
        self.norm = nn.BatchNorm1d(CAMERA_NUMBERS)
        self.depth_gate = _Gate(mid_channels)
        self.context_gate = _Gate(mid_channels)
        self.context = nn.Conv2d(mid_channels, context_channels, 1)
        layers: list[nn.Module] = [_Residual(mid_channels, norm) for _ in range(blocks)]
        if dilated:
            layers.append(_Dilated(mid_channels, norm))
        self.depth = nn.Sequential(*layers, nn.Conv2d(mid_channels, depth_bins, 1))

    def forward(self, features: Tensor, cameras: Cameras) -> tuple[Tensor, Tensor]:
        """Return logits (B N, D, H, W) and context (B N, C, H, W) of features (B N, C', H, W)."""
        numbers = self.norm(cameras.numbers().to(features.device, self.norm.weight.dtype))
        reduced = self.reduce(features)
        context = self.context(self.context_gate(reduced, numbers))
        return self.depth(self.depth_gate(reduced, numbers)), context


class _Gate(nn.Module):
    """Weigh channels by what is known of the camera."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(CAMERA_NUMBERS, channels),
            nn.ReLU(inplace=True),
            nn.Linear(channels, channels),
            nn.ReLU(inplace=True),
            nn.Linear(channels, channels),
        )

    def forward(self, features: Tensor, numbers: Tensor) -> Tensor:
        return features * self.layers(numbers).sigmoid()[:, :, None, None]


class _Residual(nn.Module):
    def __init__(self, channels: int, norm: dict) -> None:
        super().__init__()
        self.first = ConvModule(channels, channels, 3, padding=1, norm_cfg=norm)
        self.second = ConvModule(channels, channels, 3, padding=1, norm_cfg=norm, act_cfg=None)

    def forward(self, features: Tensor) -> Tensor:
        return F.relu(features + self.second(self.first(features)))


class _Dilated(nn.Module):
    """Convolutions of several dilations and the mean of the image, joined."""

    def __init__(self, channels: int, norm: dict) -> None:
        super().__init__()
        self.near = ConvModule(channels, channels, 1, norm_cfg=norm)
        self.far = nn.ModuleList(
            ConvModule(channels, channels, 3, padding=rate, dilation=rate, norm_cfg=norm)
            for rate in RATES
        )
        self.whole = ConvModule(channels, channels, 1)
        self.join = ConvModule((2 + len(RATES)) * channels, channels, 1, norm_cfg=norm)

    def forward(self, features: Tensor) -> Tensor:
        mean = self.whole(features.mean((2, 3), keepdim=True)).expand_as(features)
        return self.join(
            torch.cat([self.near(features), *(f(features) for f in self.far), mean], 1)
        )
