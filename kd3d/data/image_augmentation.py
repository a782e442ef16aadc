"""Resizing, cropping, flipping and rotating images, as one matrix on pixels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class ImageAugmentation:
    """What happens to one image; a whole number is the middle of a pixel.

    Attributes:
        resized: (H, W) after resizing.
        corner: (left, top) of the crop in the resized image; what lies outside is black.
        size: (H, W) of the crop, and of the result.
        flip: Whether the crop is mirrored left to right.
        angle_deg: By how much it is then turned clockwise about its middle.
    """

    resized: tuple[int, int]
    corner: tuple[int, int]
    size: tuple[int, int]
    flip: bool = False
    angle_deg: float = 0.0

    def matrix(self, shape: tuple[int, int]) -> np.ndarray:
        """Return the (4, 4) that moves (u, v, depth, 1) of an image of `shape` (H, W)."""
        scale = np.array([self.resized[1] / shape[1], self.resized[0] / shape[0]])
        matrix = np.eye(4)
        matrix[[0, 1], [0, 1]] = scale
        matrix[:2, 3] = 0.5 * scale - 0.5 - np.array(self.corner)
        return self._turn() @ matrix

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Return the image (H, W, 3), of the same dtype."""
        (height, width), (resized_h, resized_w) = image.shape[:2], self.resized
        if (resized_h, resized_w) != (height, width):
            shrinks = resized_h < height or resized_w < width
            way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            image = cv2.resize(image, (resized_w, resized_h), interpolation=way)
        shift = np.eye(4)
        shift[:2, 3] = -np.array(self.corner)
        affine = np.delete((self._turn() @ shift)[:2], 2, axis=1)
        return cv2.warpAffine(image, affine, self.size[::-1], flags=cv2.INTER_LINEAR)

    def _turn(self) -> np.ndarray:
        """Return the flip and the rotation of the crop."""
        height, width = self.size
        matrix = np.eye(4)
        if self.flip:
            matrix[0, 0], matrix[0, 3] = -1.0, width - 1.0
        angle, middle = np.deg2rad(self.angle_deg), np.array([width - 1, height - 1]) / 2
        turn = np.eye(4)
        turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        turn[:2, 3] = middle - turn[:2, :2] @ middle
        return turn @ matrix


def draw(
    shape: tuple[int, int],
    size: tuple[int, int],
    resize: tuple[float, float],
    angle_deg: tuple[float, float],
    flip: float,
) -> ImageAugmentation:
    """Draw from numpy's random state, as BEVDet does; see ``LoadSurroundImages``."""
    scale = size[1] / shape[1] + np.random.uniform(*resize)
    left = int(np.random.uniform(0, max(0, round(scale * shape[1]) - size[1]) + 1))
    mirrored = bool(np.random.rand() < flip)
    return _placed(shape, size, scale, left, mirrored, float(np.random.uniform(*angle_deg)))


def centred(shape: tuple[int, int], size: tuple[int, int]) -> ImageAugmentation:
    """Return what fits the width and keeps the lower part."""
    return _placed(shape, size, size[1] / shape[1], None, False, 0.0)


def _placed(
    shape: tuple[int, int],
    size: tuple[int, int],
    scale: float,
    left: int | None,
    flip: bool,
    angle_deg: float,
) -> ImageAugmentation:
    resized = (max(1, round(scale * shape[0])), max(1, round(scale * shape[1])))
    if left is None:
        left = (resized[1] - size[1]) // 2
    return ImageAugmentation(resized, (left, resized[0] - size[0]), size, flip, angle_deg)
