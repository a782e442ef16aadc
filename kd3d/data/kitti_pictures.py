"""Three frames of a KITTI folder as pictures, so that a person sees whether all fits together."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kd3d.data.kitti_files import read_calibration, read_labels, read_points
from kd3d.data.kitti_geometry import lidar_boxes
from kd3d.data.kitti_layout import Frame, KittiSource

_COUNT = 3


def draw_pictures(source: KittiSource, folder: Path, redraw: bool) -> tuple[Path, ...]:
    """Draw the first, middle and last labelled frame from above and in the camera image.

    Args:
        source: The data.
        folder: Where ``000123_bev.png`` and ``000123_image.png`` go.
        redraw: False leaves pictures that are there.
    """
    frames = sorted({*source.splits["train"], *source.splits["val"]}, key=lambda f: f.name)
    chosen = [frames[i] for i in np.unique(np.linspace(0, len(frames) - 1, _COUNT).astype(int))]
    paths: list[Path] = []
    for frame in chosen:
        both = tuple(folder / f"{frame.name}_{kind}.png" for kind in ("bev", "image"))
        if redraw or not all(path.exists() for path in both):
            folder.mkdir(parents=True, exist_ok=True)
            title = ("simulated " if source.simulated else "") + f"frame {frame.name}"
            _draw(frame, title, *both)
        paths += both
    return tuple(paths)


def _draw(frame: Frame, title: str, bev: Path, picture: Path) -> None:
    from PIL import Image

    from kd3d.viz.bev import draw_bev
    from kd3d.viz.image import draw_image_boxes

    calibration = read_calibration(frame.path("calib"))
    labels = read_labels(frame.path("label_2"))
    boxes = {"ground truth": lidar_boxes(labels[labels.name != "DontCare"], calibration)}
    draw_bev(read_points(frame.path("velodyne")), boxes, path=bev, title=title)
    with Image.open(frame.path("image_2")) as image:
        pixels = np.asarray(image.convert("RGB"))
    draw_image_boxes(pixels, boxes, calibration.lidar_to_image, path=picture)
