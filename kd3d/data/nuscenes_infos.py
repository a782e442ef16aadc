"""One nuScenes sample as an mmdet3d 1.4 info (format 1.1).

Field by field equal to what mmdet3d's ``create_data.py nuscenes`` writes (a test compares them),
but for what goes wrong there: the tables may lie in any folder, not ``./data/nuscenes`` alone; 2D
boxes are cut at the pictures' real size, not at 1600 x 900; sweeps are named by their path in the
data set, so a folder called "samples" above it does no harm; matrices keep double precision.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from mmdet3d.datasets.convert_utils import (
    NuScenesNameMapping,
    nus_attributes,
    post_process_coords,
)
from pyquaternion import Quaternion

from kd3d.data.nuscenes_tables import CAMERAS, CATEGORIES, LIDAR, turns_before

POINT_VALUES = 5  # x, y, z, intensity, ring


def pose_matrix(record: dict[str, Any]) -> np.ndarray:
    """Return the (4, 4) matrix of a record with rotation (w, x, y, z) and translation."""
    matrix = np.eye(4)
    matrix[:3, :3] = Quaternion(record["rotation"]).rotation_matrix
    matrix[:3, 3] = record["translation"]
    return matrix


def sensor_poses(nusc: Any, sample_data: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return sensor-to-ego and ego-to-global (4, 4) matrices of a ``sample_data`` record."""
    mount = nusc.get("calibrated_sensor", sample_data["calibrated_sensor_token"])
    return pose_matrix(mount), pose_matrix(nusc.get("ego_pose", sample_data["ego_pose_token"]))


def build_info(nusc: Any, sample: dict[str, Any], index: int, max_sweeps: int) -> dict[str, Any]:
    """Return the info of one sample.

    Args:
        nusc: The devkit's object.
        sample: A record of its ``sample`` table.
        index: Place in the info file.
        max_sweeps: LiDAR turns before the key frame to name, at most.
    """
    key = nusc.get("sample_data", sample["data"][LIDAR])
    lidar2ego, ego2global = sensor_poses(nusc, key)
    lidar2global = ego2global @ lidar2ego
    info: dict[str, Any] = {
        "sample_idx": index,
        "token": sample["token"],
        "timestamp": sample["timestamp"] / 1e6,
        "ego2global": ego2global.tolist(),
        "images": {
            name: _image(nusc, nusc.get("sample_data", sample["data"][name]), lidar2global)
            for name in CAMERAS
        },
        "lidar_points": {
            "num_pts_feats": POINT_VALUES,
            "lidar_path": _name(key),
            "lidar2ego": lidar2ego.tolist(),
        },
        "instances": _instances(nusc, sample, lidar2global),
        "cam_instances": {name: _camera_instances(nusc, sample, name) for name in CAMERAS},
    }
    sweeps = [_sweep(nusc, turn, lidar2global) for turn in turns_before(nusc, key, max_sweeps)]
    if sweeps:
        info["lidar_sweeps"] = sweeps
    return info


def _name(sample_data: dict[str, Any]) -> str:
    return sample_data["filename"].rsplit("/", 1)[-1]


def _from_lidar(nusc: Any, record: dict[str, Any], lidar2global: np.ndarray) -> np.ndarray:
    """Return the (4, 4) matrix from the key frame's LiDAR to a sensor at its own instant."""
    sensor2ego, ego2global = sensor_poses(nusc, record)
    return np.linalg.inv(ego2global @ sensor2ego) @ lidar2global


def _image(nusc: Any, record: dict[str, Any], lidar2global: np.ndarray) -> dict[str, Any]:
    mount = nusc.get("calibrated_sensor", record["calibrated_sensor_token"])
    return {
        "img_path": _name(record),
        "cam2img": mount["camera_intrinsic"],
        "cam2ego": pose_matrix(mount).tolist(),
        "sample_data_token": record["token"],
        "timestamp": record["timestamp"] / 1e6,
        "lidar2cam": _from_lidar(nusc, record, lidar2global).tolist(),
    }


def _sweep(nusc: Any, record: dict[str, Any], lidar2global: np.ndarray) -> dict[str, Any]:
    sensor2ego, ego2global = sensor_poses(nusc, record)
    return {
        "timestamp": record["timestamp"] / 1e6,
        "ego2global": ego2global.tolist(),
        "sample_data_token": record["token"],
        "lidar_points": {
            "lidar_path": record["filename"],
            "lidar2ego": sensor2ego.tolist(),
            "lidar2sensor": _from_lidar(nusc, record, lidar2global).tolist(),
        },
    }


def _instances(nusc: Any, sample: dict[str, Any], lidar2global: np.ndarray) -> list[dict[str, Any]]:
    """Boxes x, y, z (of the middle), l, w, h, yaw in the LiDAR frame; other categories are -1."""
    turn = np.linalg.inv(lidar2global)[:3, :3]
    _, boxes, _ = nusc.get_sample_data(sample["data"][LIDAR])
    rows = []
    for box in boxes:
        record = nusc.get("sample_annotation", box.token)
        name = NuScenesNameMapping.get(box.name)
        label = CATEGORIES.index(name) if name else -1
        points, radar = record["num_lidar_pts"], record["num_radar_pts"]
        velocity = np.array([*nusc.box_velocity(box.token)[:2], 0.0])
        size = box.wlh[[1, 0, 2]]
        rows.append(
            {
                "bbox_label": label,
                "bbox_3d": [*map(float, (*box.center, *size, box.orientation.yaw_pitch_roll[0]))],
                "bbox_3d_isvalid": points + radar > 0,
                "bbox_label_3d": label,
                "num_lidar_pts": points,
                "num_radar_pts": radar,
                "velocity": (turn @ velocity)[:2].tolist(),
            }
        )
    return rows


def _camera_instances(nusc: Any, sample: dict[str, Any], camera: str) -> list[dict[str, Any]]:
    """What a picture shows of the ten classes: 2D box, and 3D box in the camera's frame."""
    record = nusc.get("sample_data", sample["data"][camera])
    mount = nusc.get("calibrated_sensor", record["calibrated_sensor_token"])
    matrix = np.array(mount["camera_intrinsic"])
    cam2ego, ego2global = sensor_poses(nusc, record)
    to_camera = np.linalg.inv(ego2global @ cam2ego)
    inverse = Quaternion(matrix=to_camera[:3, :3], rtol=1e-5, atol=1e-6)
    rows = []
    for token in sample["anns"]:
        annotation = nusc.get("sample_annotation", token)
        name = NuScenesNameMapping.get(annotation["category_name"])
        box = nusc.get_box(token)
        box.rotate(inverse)
        box.translate(to_camera[:3, 3])
        corners = box.corners()
        corners = corners[:, corners[2] > 0]
        if name is None or box.center[2] <= 0 or not corners.size:
            continue
        pixels = (matrix @ corners / corners[2])[:2].T
        cut = post_process_coords(pixels.tolist(), (record["width"], record["height"]))
        if cut is None:
            continue
        velocity = to_camera[:3, :3] @ np.array([*nusc.box_velocity(token)[:2], 0.0])
        middle = matrix @ box.center / box.center[2]
        label = CATEGORIES.index(name)
        size = box.wlh[[1, 2, 0]]
        yaw = -box.orientation.yaw_pitch_roll[0]
        rows.append(
            {
                "bbox_label": label,
                "bbox_label_3d": label,
                "bbox": [float(value) for value in cut],
                "bbox_3d_isvalid": True,
                "bbox_3d": [*map(float, (*box.center, *size, yaw))],
                "velocity": velocity[0::2].tolist(),
                "center_2d": middle[:2].tolist(),
                "depth": float(box.center[2]),
                "attr_label": _attribute(nusc, annotation),
            }
        )
    return rows


def _attribute(nusc: Any, annotation: dict[str, Any]) -> int:
    tokens = annotation["attribute_tokens"]
    name = nusc.get("attribute", tokens[0])["name"] if tokens else "None"
    return nus_attributes.index(name)
