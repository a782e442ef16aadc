"""The corruptions as transforms of a test pipeline, each deterministic by seed and frame.

A point corruption comes after the last loader of points, an image or calibration corruption after
the loader of images; `kd3d.robustness.pipeline` puts them there. Draws depend on the seed, the
frame and the kind of corruption, not on the amount: what a light corruption removes, a heavy one
removes as well.
"""

from __future__ import annotations

import zlib
from abc import abstractmethod
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet3d.registry import TRANSFORMS

from kd3d.errors import UserError
from kd3d.robustness import cameras, clouds


class Corruption(BaseTransform):
    """Base of all.

    Args:
        amount: How bad; the unit is the subclass's.
        seed: Of all frames' draws.
    """

    def __init__(self, amount: float, seed: int = 0) -> None:
        if amount < 0:
            raise UserError(f"amount {amount} is negative", type(self).__name__)
        self.amount, self.seed = amount, seed

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Corrupt a frame; what it held is left as it was."""
        words = (_frame_name(results), type(self).__name__)
        rng = np.random.default_rng([self.seed, *(zlib.crc32(word.encode()) for word in words)])
        return results | self.corrupted(results, rng)

    @abstractmethod
    def corrupted(self, results: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """Return the entries that change."""


class _CloudCorruption(Corruption):
    @abstractmethod
    def kept(self, xyz: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return which points are left, (N,) bool."""

    def corrupted(self, results: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """Return ``points`` that are left; one at least, as no detector takes an empty cloud."""
        points = _need(results, "points", self)
        kept = self.kept(points.tensor[:, :3].double().numpy(), rng)
        if not kept.any():
            kept[:1] = True
        return {"points": points[kept]}


@TRANSFORMS.register_module()
class BeamDrop(_CloudCorruption):
    """A share of the LiDAR's beams is missing; see `kd3d.robustness.clouds.kept_after_beam_drop`.

    Args:
        amount: Share of the beams, 0 to 1.
        seed: Of all frames' draws.
        beams: How many the sensor has.
    """

    def __init__(self, amount: float, seed: int = 0, beams: int = 64) -> None:
        super().__init__(amount, seed)
        self.beams = beams

    def kept(self, xyz: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return which points are left."""
        return clouds.kept_after_beam_drop(xyz, self.beams, self.amount, rng)


@TRANSFORMS.register_module()
class PointDrop(_CloudCorruption):
    """Points are missing at random; see `kd3d.robustness.clouds.kept_after_point_drop`.

    ``amount``: share of the points, 0 to 1.
    """

    def kept(self, xyz: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return which points are left."""
        return clouds.kept_after_point_drop(len(xyz), self.amount, rng)


@TRANSFORMS.register_module()
class FogLoss(_CloudCorruption):
    """Fog hides what is far; see `kd3d.robustness.clouds.kept_in_fog`.

    ``amount``: extinction in 1/m.
    """

    def kept(self, xyz: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return which points are left."""
        return clouds.kept_in_fog(xyz, self.amount, rng)


@TRANSFORMS.register_module()
class CameraDrop(Corruption):
    """Some cameras are black; see `kd3d.robustness.cameras.failing_cameras`.

    ``amount``: how many.
    """

    def corrupted(self, results: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """Return ``img``."""
        images = list(_need(results, "img", self))
        for place in cameras.failing_cameras(len(images), round(self.amount), rng):
            images[place] = np.zeros_like(images[place])
        return {"img": images}


@TRANSFORMS.register_module()
class ImageNoise(Corruption):
    """Gaussian noise on every image; see `kd3d.robustness.cameras.noisy_image`.

    ``amount``: standard deviation, 1 being the whole range.
    """

    def corrupted(self, results: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """Return ``img``."""
        images = _need(results, "img", self)
        return {"img": [cameras.noisy_image(one, self.amount, rng) for one in images]}


@TRANSFORMS.register_module()
class ImageBlur(Corruption):
    """Gaussian blur of every image; see `kd3d.robustness.cameras.blurred_image`.

    ``amount``: standard deviation in pixels; 0 changes nothing.
    """

    def corrupted(self, results: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """Return ``img``."""
        images = _need(results, "img", self)
        if not self.amount:
            return {}
        return {"img": [cameras.blurred_image(one, self.amount) for one in images]}


@TRANSFORMS.register_module()
class CalibrationNoise(Corruption):
    """The cameras' extrinsics are off; see `kd3d.robustness.cameras.shifted_mount`.

    ``amount``: standard deviation in degrees about each axis; along each axis it is a tenth of
    that in metres.
    """

    def corrupted(self, results: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """Return ``lidar2cam`` and ``lidar2img``."""
        before = _need(results, "lidar2cam", self)
        moved = [cameras.shifted_mount(one, self.amount, self.amount / 10, rng) for one in before]
        intrinsics = _need(results, "cam2img", self)
        return {"lidar2cam": moved, "lidar2img": [k @ m for k, m in zip(intrinsics, moved)]}


def _need(results: dict[str, Any], key: str, transform: Corruption) -> Any:
    if key not in results:
        raise UserError(
            f"the frame has no {key!r}", type(transform).__name__, "its loader comes before it"
        )
    return results[key]


def _frame_name(results: dict[str, Any]) -> str:
    """Return what tells a frame from others, wherever the data set lies."""
    path = (results.get("lidar_points") or {}).get("lidar_path") or results.get("lidar_path")
    if path is not None:
        return str(path).rsplit("/", 1)[-1]
    return str(results.get("sample_idx", results.get("token", "")))
