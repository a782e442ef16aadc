"""Labels as a feature map."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LabelEncoder(nn.Module):
    """Turn painted boxes and classes into a map that a detector's head can read.

    The label encoder of S. Kim, Y. Kim, S. Hwang, H. Jeong, D. Kum, "LabelDistill: Label-guided
    cross-modal knowledge distillation for camera-based 3D object detection", ECCV 2024: a
    perceptron each for box and class in every cell, whose sum passes another one, a residual block
    and a convolution.

    Args:
        numbers: Values of a painted box.
        classes: K.
        channels: Of the map.
    """

    def __init__(self, numbers: int, classes: int, channels: int) -> None:
        super().__init__()
        self.box = _perceptron(numbers, channels)
        self.kind = _perceptron(classes, channels)
        self.both = _perceptron(channels, channels)
        self.norm = nn.GroupNorm(1, channels)
        self.block = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GroupNorm(1, channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GroupNorm(1, channels),
        )
        self.out = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, boxes: Tensor, kinds: Tensor) -> Tensor:
        """Return (B, C, H, W).

        Args:
            boxes: (B, D, H, W) each cell's box, 0 where there is none.
            kinds: (B, K, H, W) one-hot class, 0 where there is no box.
        """
        joint = self.norm(self.both(self.box(boxes) + self.kind(kinds)))
        return self.out(torch.relu(joint + self.block(joint)))


def _perceptron(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1), nn.ReLU(), nn.Conv2d(outputs, outputs, 1))
