"""What the viewer shows of one frame, and how it is written into the page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from kd3d.data.frames import Boxes, FrameFolder, Picture
from kd3d.viz.boxes import as_boxes

TRUTH = "ground truth"
CENTIMETRES = 100
MOST_POINTS = 30_000
IMAGE_WIDTH = 800
REACH_M = 320.0  # of an int16 in centimetres


@dataclass(frozen=True)
class GroundMap:
    """Values on cells of the ground.

    Attributes:
        values: (H, W) from 0 to 1, H along y and W along x.
        extent_m: (x_min, y_min, x_max, y_max).
    """

    values: np.ndarray
    extent_m: tuple[float, float, float, float]


@dataclass
class Scene:
    """One frame.

    Attributes:
        name: Shown, and unique.
        points: (N, 3 or more) x, y, z in metres, LiDAR frame.
        groups: Source -> boxes.
        maps: What it shows -> map.
        pictures: Camera -> picture.
    """

    name: str
    points: np.ndarray
    groups: dict[str, Boxes] = field(default_factory=dict)
    maps: dict[str, GroundMap] = field(default_factory=dict)
    pictures: dict[str, Picture] = field(default_factory=dict)


def scene_of(folder: FrameFolder, name: str) -> Scene:
    """Return a frame of a data set's folder with its labels and pictures."""
    truth = folder.truth(name)
    groups = {TRUTH: truth} if len(truth.box) else {}
    return Scene(name, folder.points(name), groups, pictures=folder.pictures(name))


def packed(scene: Scene, most_points: int = MOST_POINTS, seed: int = 0) -> dict[str, Any]:
    """Return a scene as JSON values: arrays of bytes in base64, pictures as JPEG.

    Args:
        scene: What to pack.
        most_points: A larger cloud is thinned at random.
        seed: Of that.
    """
    points = scene.points[:, :3]
    points = points[(np.abs(points) < REACH_M).all(1)]
    if len(points) > most_points:
        chosen = np.random.default_rng(seed).permutation(len(points))[:most_points]
        points = points[np.sort(chosen)]
    points = points[np.argsort(points[:, 2], kind="stable")]  # high ones are drawn last
    return {
        "name": scene.name,
        "total": len(scene.points),
        "points": _bytes((points * CENTIMETRES).round().astype("<i2")),
        "groups": {name: _boxes(group) for name, group in scene.groups.items()},
        "maps": {
            name: {
                "shape": list(one.values.shape),
                "extent": [float(v) for v in one.extent_m],
                "data": _bytes((np.clip(one.values, 0, 1) * 255).round().astype(np.uint8)),
            }
            for name, one in scene.maps.items()
        },
        "pictures": {name: _picture(one) for name, one in scene.pictures.items()},
    }


def _boxes(group: Boxes) -> list[dict[str, Any]]:
    return [
        {
            "box": [round(float(value), 3) for value in box],
            "name": str(name),
            "score": None if np.isnan(score) else round(float(score), 3),
        }
        for box, name, score in zip(as_boxes(group.box), group.name, group.score)
    ]


def _picture(one: Picture) -> dict[str, Any]:
    """Return a picture no wider than `IMAGE_WIDTH`, with the matrix to its pixels."""
    picture = Image.fromarray(one.image)
    scale = min(1.0, IMAGE_WIDTH / picture.width)
    size = (round(picture.width * scale), round(picture.height * scale))
    stream = io.BytesIO()
    picture.resize(size, Image.Resampling.LANCZOS).save(stream, "JPEG", quality=80)
    factors = np.diag([size[0] / picture.width, size[1] / picture.height, 1.0, 1.0])
    matrix = factors @ np.asarray(one.lidar_to_image, dtype=np.float64)
    return {
        "src": "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii"),
        "size": list(size),
        "matrix": matrix.ravel().tolist(),
    }


def _bytes(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
