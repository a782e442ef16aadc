"""One KITTI frame as an mmdet3d 1.4 info (format 1.1) and as ground-truth database entries.

Field by field equal to what mmdet3d's ``create_data.py kitti`` writes (a test compares them),
without its weak points: an empty split, DontCare rows that are not last, calibration lines in
another order, and one image decoded for its size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kd3d.data.kitti_files import Calibration, Labels, read_calibration, read_labels, read_points
from kd3d.data.kitti_geometry import lidar_boxes, points_in_boxes, points_in_image
from kd3d.data.kitti_layout import Frame
from kd3d.errors import UserError

# mmdet3d's order; the index is the label
CATEGORIES = ("Pedestrian", "Cyclist", "Car", "Van", "Truck", "Person_sitting", "Tram", "Misc")
_CAMERAS = ("P0", "P1", "P2", "P3")
# lower limits of height and upper limits of occlusion and truncation for easy, moderate, hard
_MIN_HEIGHT_PX, _MAX_OCCLUSION, _MAX_TRUNCATION = (40, 25, 25), (0, 1, 2), (0.15, 0.3, 0.5)


@dataclass
class BuiltFrame:
    """What one frame becomes.

    Attributes:
        info: The mmdet3d info.
        reduced: (M, 4) float32 points that project into the image.
        objects: Entries of the ground-truth database, without path and group.
        object_points: For each entry (K, 4) float32 points relative to the box's bottom centre.
    """

    info: dict[str, Any]
    reduced: np.ndarray
    objects: list[dict[str, Any]]
    object_points: list[np.ndarray]


def read_image_size(path: Any) -> tuple[int, int]:
    """Return width and height in pixels after checking every chunk of the file.

    Raises:
        UserError: Missing file, or not a whole image.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            size = image.size
            image.verify()
    except FileNotFoundError:
        raise UserError("file not found", path) from None
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"not a whole image ({error})", path, "copy it again") from None
    return size


def check_frame(frame: Frame) -> list[UserError]:
    """Read all files of a frame strictly and return what is wrong with them."""
    readers: dict[str, Callable[[Path], object]] = {
        "velodyne": read_points,
        "image_2": read_image_size,
        "calib": read_calibration,
        "label_2": lambda path: _check_labels(path, read_labels(path)),
    }
    problems = []
    for kind in frame.kinds:
        try:
            readers[kind](frame.path(kind))
        except UserError as error:
            problems.append(error)
    return problems


def build_frame(frame: Frame) -> BuiltFrame:
    """Read one checked frame and build its info, reduced cloud and database entries."""
    calibration = read_calibration(frame.path("calib"))
    width, height = read_image_size(frame.path("image_2"))
    points = read_points(frame.path("velodyne"))
    reduced = points[points_in_image(points, calibration, width, height)]
    info = _frame_info(frame, calibration, width, height)
    objects: list[dict[str, Any]] = []
    object_points: list[np.ndarray] = []
    if "label_2" in frame.kinds:
        labels = read_labels(frame.path("label_2"))
        known = labels.name != "DontCare"
        boxes = lidar_boxes(labels[known], calibration).astype(np.float32)
        inside = points_in_boxes(reduced, boxes)
        info["instances"] = _instances(labels, calibration, [int(i.sum()) for i in inside])
        info["cam_instances"] = {"CAM2": _camera_instances(labels, calibration, width, height)}
        difficulty = difficulties(labels)[known]
        for index, (name, box) in enumerate(zip(labels.name[known], boxes)):
            own = reduced[inside[index]].copy()
            own[:, :3] -= box[:3]
            objects.append(
                {
                    "name": str(name),
                    "image_idx": info["sample_idx"],
                    "gt_idx": index,
                    "box3d_lidar": box,
                    "num_points_in_gt": len(own),
                    "difficulty": int(difficulty[index]),
                    "score": 0.0,
                }
            )
            object_points.append(own)
    return BuiltFrame(info, reduced, objects, object_points)


def difficulties(labels: Labels) -> np.ndarray:
    """Return (N,) int: 0 easy, 1 moderate, 2 hard, -1 none of them, by KITTI's limits."""
    height = labels.bbox[:, 3] - labels.bbox[:, 1]
    result = np.full(len(labels), -1, dtype=np.int64)
    for level in (2, 1, 0):
        fits = (
            (labels.occluded <= _MAX_OCCLUSION[level])
            & (height > _MIN_HEIGHT_PX[level])
            & (labels.truncated <= _MAX_TRUNCATION[level])
        )
        result[fits] = level
    return result


def _check_labels(path: Any, labels: Labels) -> None:
    known = labels.name != "DontCare"
    if (labels.dimensions[known] <= 0).any():
        raise UserError("an object's height, width or length is not above zero", path)


def _frame_info(frame: Frame, calibration: Calibration, width: int, height: int) -> dict[str, Any]:
    single = {k: _homogeneous(m).astype(np.float32) for k, m in calibration.matrices.items()}
    lidar_to_camera = single["R0_rect"] @ single["Tr_velo_to_cam"]
    images: dict[str, Any] = {}
    for index, key in enumerate(_CAMERAS):
        if key in calibration.matrices:
            projection = _homogeneous(calibration.matrices[key])
            images[f"CAM{index}"] = {
                "cam2img": projection.tolist(),
                "lidar2img": (projection @ lidar_to_camera).tolist(),
            }
    images["CAM2"].update(
        img_path=frame.path("image_2").name,
        height=height,
        width=width,
        lidar2cam=lidar_to_camera.tolist(),
    )
    images["R0_rect"] = single["R0_rect"].tolist()
    lidar = {"num_pts_feats": 4, "lidar_path": frame.path("velodyne").name}
    lidar |= {k: single[k].tolist() for k in ("Tr_velo_to_cam", "Tr_imu_to_velo") if k in single}
    return {
        "sample_idx": int(frame.name),
        "images": images,
        "lidar_points": lidar,
        "instances": [],
    }


def _instances(labels: Labels, calibration: Calibration, points: list[int]) -> list[dict[str, Any]]:
    """Return mmdet3d's `instances`; boxes are [x, y, z, length, height, width, rotation_y]."""
    difficulty = difficulties(labels)
    result: list[dict[str, Any]] = []
    counter = 0
    for i, name in enumerate(labels.name):
        dont_care = name == "DontCare"
        label = -1 if dont_care else CATEGORIES.index(name)
        centre = _project(_camera_centre(labels, i), calibration)
        result.append(
            {
                "bbox": labels.bbox[i].tolist(),
                "bbox_label": label,
                "bbox_label_3d": label,
                "bbox_3d": _camera_box(labels, i).tolist(),
                "center_2d": centre[:2].tolist(),
                "depth": float(centre[2]),
                "truncated": float(labels.truncated[i]),
                "occluded": int(labels.occluded[i]),
                "alpha": float(labels.alpha[i]),
                "score": 0.0,
                "index": -1 if dont_care else counter,
                "group_id": i,
                "difficulty": int(difficulty[i]),
                "num_lidar_pts": -1 if dont_care else points[counter],
            }
        )
        counter += not dont_care
    return result


def _camera_instances(
    labels: Labels, calibration: Calibration, width: int, height: int
) -> list[dict[str, Any]]:
    """Return the boxes seen in the image: the projected 3D box cut to the image."""
    from shapely.geometry import MultiPoint, Polygon, box

    canvas, result = box(0, 0, width, height), []
    for i, name in enumerate(labels.name):
        centre = _project(_camera_centre(labels, i), calibration)
        if name == "DontCare" or labels.occluded[i] not in (0, 1, 2, 3) or centre[2] <= 0:
            continue
        corners = _camera_corners(labels, i)
        pixels = _project(corners[corners[:, 2] > 0], calibration)[:, :2]
        seen = MultiPoint(pixels).convex_hull.intersection(canvas)
        if not isinstance(seen, Polygon) or seen.is_empty:
            continue
        label = CATEGORIES.index(name)
        result.append(
            {
                "bbox_label": label,
                "bbox_label_3d": label,
                "bbox": list(seen.bounds),
                "bbox_3d_isvalid": True,
                "bbox_3d": _camera_box(labels, i).astype(np.float32).tolist(),
                "velocity": -1,
                "center_2d": centre[:2].tolist(),
                "depth": float(centre[2]),
            }
        )
    return result


def _camera_box(labels: Labels, i: int) -> np.ndarray:
    height, width, length = labels.dimensions[i]
    return np.array([*labels.location[i], length, height, width, labels.rotation_y[i]])


def _camera_centre(labels: Labels, i: int) -> np.ndarray:
    return labels.location[i] - np.array([0.0, labels.dimensions[i, 0] / 2, 0.0])


def _camera_corners(labels: Labels, i: int) -> np.ndarray:
    """Return the (8, 3) corners in rectified camera coordinates."""
    height, width, length = labels.dimensions[i]
    signs = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, 8).T / 2
    x, y, z = (signs * (length, height, width)).T
    cos, sin = np.cos(labels.rotation_y[i]), np.sin(labels.rotation_y[i])
    return _camera_centre(labels, i) + np.column_stack([cos * x + sin * z, y, cos * z - sin * x])


def _project(points: np.ndarray, calibration: Calibration) -> np.ndarray:
    """Project (..., 3) camera points: (..., 3) pixels u, v and depth in metres."""
    image = points @ calibration.p2[:, :3].T + calibration.p2[:, 3]
    return np.concatenate([image[..., :2] / image[..., 2:], image[..., 2:]], axis=-1)


def _homogeneous(matrix: np.ndarray) -> np.ndarray:
    full = np.eye(4)
    full[:3, : matrix.shape[1]] = matrix
    return full
