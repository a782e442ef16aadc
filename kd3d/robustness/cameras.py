"""What bad light, dirt and loose mounts do to images and calibration."""

from __future__ import annotations

import cv2
import numpy as np


def noisy_image(image: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """Return the uint8 image with Gaussian noise of a standard deviation (1: the whole range).

    "Gaussian noise" of D. Hendrycks, T. Dietterich, "Benchmarking neural network robustness to
    common corruptions and perturbations", ICLR 2019; on the network's image.
    """
    noise = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(255 * deviation)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def blurred_image(image: np.ndarray, sigma_px: float) -> np.ndarray:
    """Return the image blurred by a Gaussian of `sigma_px` pixels of the network's image.

    "Gaussian blur" of Hendrycks and Dietterich (see `noisy_image`): their extra set.
    """
    return cv2.GaussianBlur(image, (0, 0), sigmaX=sigma_px, borderType=cv2.BORDER_REPLICATE)


def failing_cameras(count: int, failing: int, rng: np.random.Generator) -> np.ndarray:
    """Return the places of the cameras that are black, `failing` of `count`.

    "Camera crash" of S. Xie et al., "RoboBEV: Towards robust bird's eye view perception under
    corruption and domain shift", arXiv:2304.06719.
    """
    return rng.permutation(count)[:failing]


def shifted_mount(
    lidar2cam: np.ndarray, angle_deg: float, shift_m: float, rng: np.random.Generator
) -> np.ndarray:
    """Return a (4, 4) ``lidar2cam`` of a camera that is not where the calibration says.

    "Spatial misalignment" of Dong et al. (see `kd3d.robustness.clouds.kept_after_point_drop`):
    normal noise on the rotation about each of the camera's axes and on its place.

    Args:
        lidar2cam: What the calibration says.
        angle_deg: Standard deviation about each axis.
        shift_m: Standard deviation along each axis.
        rng: Six draws.
    """
    draws = rng.standard_normal(6)
    moved = np.eye(4)
    moved[:3, :3] = cv2.Rodrigues(np.deg2rad(angle_deg) * draws[:3])[0]
    moved[:3, 3] = shift_m * draws[3:]
    return moved @ lidar2cam
