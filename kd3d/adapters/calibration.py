"""Convolutions that look around a cell before it is compared."""

from __future__ import annotations

from torch import nn


def calibration(channels: int, layers: int = 3, dilation: int = 2) -> nn.Sequential:
    """Return layers of dilated 3x3 convolution, batch normalisation and ReLU, widths kept.

    CRKD's calibration of a noisy sensor's map; L. Zhao, J. Song, K. A. Skinner, "CRKD: Enhanced
    camera-radar object detection with cross-modality knowledge distillation", CVPR 2024.
    Convolutions start from He's normal distribution.
    """
    made: list[nn.Module] = []
    for _ in range(layers):
        convolution = nn.Conv2d(
            channels, channels, 3, padding=dilation, dilation=dilation, bias=False
        )
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        made += [convolution, nn.BatchNorm2d(channels), nn.ReLU()]
    return nn.Sequential(*made)


def convolution_pair(channels: int, out: int) -> nn.Sequential:
    """Return a 3x3 convolution, ReLU and a 1x1 convolution from `channels` to `out`."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, out, 1)
    )
