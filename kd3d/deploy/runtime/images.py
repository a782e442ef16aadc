"""From the pictures of several cameras to what the image graph reads."""

from __future__ import annotations

from typing import Any

import numpy as np


def fit_image(image: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Scale an image to the network's width and keep its lower part.

    Args:
        image: (H, W, 3) uint8.
        size: (H, W) of the network's image.

    Returns:
        The (H, W, 3) image, and the (4, 4) matrix that moves (u, v, depth, 1) of the image as it
        was taken to the result; a whole number is the middle of a pixel.
    """
    import cv2

    height, width = image.shape[:2]
    scale = size[1] / width
    resized = (max(1, round(scale * width)), max(1, round(scale * height)))
    shrinks = resized[1] < height or resized[0] < width
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    if resized != (width, height):
        image = cv2.resize(image, resized, interpolation=way)
    top = resized[1] - size[0]
    result = np.zeros((*size, 3), dtype=image.dtype)
    result[max(-top, 0) :] = image[max(top, 0) :]
    matrix, factors = np.eye(4), np.array([resized[0] / width, resized[1] / height])
    matrix[[0, 1], [0, 1]] = factors
    matrix[:2, 3] = 0.5 * factors - 0.5 - np.array([0, top])
    return result, matrix


def image_inputs(images: np.ndarray, spec: dict[str, Any]) -> np.ndarray:
    """Return the graph's (N, 3, H, W) float32 images: channels, normalisation, padding.

    Args:
        images: (N, H, W, 3) uint8 in the order blue, green, red, as OpenCV reads them.
        spec: ``preprocess`` of ``model.json``.
    """
    images = np.asarray(images)
    if spec["to_rgb"]:
        images = images[..., ::-1]
    mean, std = (np.asarray(spec[key], dtype=np.float32) for key in ("mean", "std"))
    values = ((images.astype(np.float32) - mean) / std).transpose(0, 3, 1, 2)
    (height, width), (rows, columns) = images.shape[1:3], spec["padded"]
    padding = ((0, 0), (0, 0), (0, rows - height), (0, columns - width))
    return np.ascontiguousarray(np.pad(values, padding, constant_values=spec["pad_value"]))
