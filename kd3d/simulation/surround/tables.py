"""nuScenes' thirteen tables, joined from the notes of the scenes."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import Any

import numpy as np

from kd3d.simulation.surround.placement import quaternion
from kd3d.simulation.surround.rig import LIDAR, LIDAR_POSITION, LIDAR_ROTATION, MOUNTS

# nuScenes' categories; a simulated scene holds only some of them
CATEGORIES = (
    "human.pedestrian.adult",
    "human.pedestrian.child",
    "human.pedestrian.wheelchair",
    "human.pedestrian.stroller",
    "human.pedestrian.personal_mobility",
    "human.pedestrian.police_officer",
    "human.pedestrian.construction_worker",
    "animal",
    "vehicle.car",
    "vehicle.motorcycle",
    "vehicle.bicycle",
    "vehicle.bus.bendy",
    "vehicle.bus.rigid",
    "vehicle.truck",
    "vehicle.construction",
    "vehicle.emergency.ambulance",
    "vehicle.emergency.police",
    "vehicle.trailer",
    "movable_object.barrier",
    "movable_object.trafficcone",
    "movable_object.pushable_pullable",
    "movable_object.debris",
    "static_object.bicycle_rack",
)
ATTRIBUTES = (
    "vehicle.moving",
    "vehicle.stopped",
    "vehicle.parked",
    "cycle.with_rider",
    "cycle.without_rider",
    "pedestrian.sitting_lying_down",
    "pedestrian.standing",
    "pedestrian.moving",
)
VISIBILITY = {"1": "v0-40", "2": "v40-60", "3": "v60-80", "4": "v80-100"}
Rows = list[dict[str, Any]]


def token(seed: int, *key: object) -> str:
    """Return nuScenes' kind of token (32 hexadecimal digits) for a key, always the same."""
    return hashlib.md5("/".join(map(str, (seed, *key))).encode()).hexdigest()


def build_tables(scenes: list[dict[str, Any]], seed: int, date: str) -> dict[str, Rows]:
    """Return the tables by name.

    Args:
        scenes: Notes of each scene, see `frames`.
        seed: Makes the tokens.
        date: For the log, e.g. "2020-09-13".
    """
    tables: dict[str, Rows] = {
        "category": [
            {"token": token(seed, "category", name), "name": name, "description": "simulated"}
            for name in CATEGORIES
        ],
        "attribute": [
            {"token": token(seed, "attribute", name), "name": name, "description": "simulated"}
            for name in ATTRIBUTES
        ],
        "visibility": [
            {"token": key, "level": level, "description": f"visible share, per cent: {level[1:]}"}
            for key, level in VISIBILITY.items()
        ],
        "sensor": [
            {"token": token(seed, "sensor", name), "channel": name, "modality": modality}
            for name, modality in [(m.channel, "camera") for m in MOUNTS] + [(LIDAR, "lidar")]
        ],
    }
    for name in ("log", "map", "scene", "sample", "calibrated_sensor", "ego_pose", "sample_data"):
        tables[name] = []
    tables["instance"], tables["sample_annotation"] = [], []
    for notes in scenes:
        _Scene(notes, seed, tables).add(date)
    return tables


class _Scene:
    """Adds one scene's rows to the tables."""

    def __init__(self, notes: dict[str, Any], seed: int, tables: dict[str, Rows]) -> None:
        self.notes, self.seed, self.tables = notes, seed, tables
        self.name = notes["name"]
        self.samples = [self._token("sample", k) for k in range(notes["samples"])]

    def add(self, date: str) -> None:
        """Add all of it."""
        log, count = self._token("log"), len(self.samples)
        self.tables["log"].append(
            {
                "token": log,
                "logfile": f"sim-{self.name}",
                "vehicle": "sim",
                "date_captured": date,
                "location": "simulated",
            }
        )
        self.tables["map"].append(
            {
                "token": self._token("map"),
                "category": "semantic_prior",
                "filename": self.notes["map"],
                "log_tokens": [log],
            }
        )
        self.tables["scene"].append(
            {
                "token": self._token("scene"),
                "log_token": log,
                "nbr_samples": count,
                "first_sample_token": self.samples[0],
                "last_sample_token": self.samples[-1],
                "name": self.name,
                "description": "simulated drive",
            }
        )
        times = {f["sample"]: f["timestamp"] for f in self._of(LIDAR) if f["key"]}
        rows = [
            {"token": own, "timestamp": times[k], "scene_token": self._token("scene")}
            for k, own in enumerate(self.samples)
        ]
        self.tables["sample"] += _chained(rows)
        self._add_sensors()
        for channel in (*(m.channel for m in MOUNTS), LIDAR):
            self._add_frames(channel)
        for number, track in enumerate(self.notes["tracks"]):
            self._add_track(number, track)

    def _token(self, *key: object) -> str:
        return token(self.seed, self.name, *key)

    def _of(self, channel: str) -> Rows:
        frames = [f for f in self.notes["frames"] if f["channel"] == channel]
        return sorted(frames, key=lambda f: f["timestamp"])

    def _add_sensors(self) -> None:
        width, height = self.notes["size"]
        mounts: list[tuple[str, Any, Any, Any]] = [
            (m.channel, m.position, m.rotation, m.matrix((width, height)).tolist()) for m in MOUNTS
        ]
        mounts.append((LIDAR, LIDAR_POSITION, LIDAR_ROTATION, []))
        for channel, position, rotation, matrix in mounts:
            self.tables["calibrated_sensor"].append(
                {
                    "token": self._token("calibrated_sensor", channel),
                    "sensor_token": token(self.seed, "sensor", channel),
                    "translation": np.asarray(position, dtype=float).tolist(),
                    "rotation": quaternion(rotation),
                    "camera_intrinsic": matrix,
                }
            )

    def _add_frames(self, channel: str) -> None:
        """Add a sensor's files in the order of time; one between key frames joins the nearer."""
        keys = [f["timestamp"] for f in self._of(channel) if f["key"]]
        picture = channel != LIDAR
        width, height = self.notes["size"] if picture else (0, 0)
        rows = []
        for frame in self._of(channel):
            own = self._token("sample_data", channel, frame["timestamp"])
            nearest = int(np.argmin(np.abs(np.array(keys) - frame["timestamp"])))
            pose = {"token": own, "timestamp": frame["timestamp"], **frame["ego"]}
            self.tables["ego_pose"].append(pose)
            rows.append(
                {
                    "token": own,
                    "sample_token": self.samples[nearest],
                    "ego_pose_token": own,
                    "calibrated_sensor_token": self._token("calibrated_sensor", channel),
                    "timestamp": frame["timestamp"],
                    "fileformat": "jpg" if picture else "pcd",
                    "is_key_frame": frame["key"],
                    "height": height,
                    "width": width,
                    "filename": frame["file"],
                }
            )
        self.tables["sample_data"] += _chained(rows)

    def _add_track(self, number: int, track: dict[str, Any]) -> None:
        """Annotate a track from the first to the last key frame in which the LiDAR hit it."""
        frames = self.notes["key_frames"]
        hit = [k for k, frame in enumerate(frames) if frame["points"][number]]
        if not hit:
            return
        instance = self._token("instance", number)
        rows = []
        for k in range(hit[0], hit[-1] + 1):
            rows.append(
                {
                    "token": self._token("sample_annotation", number, k),
                    "sample_token": self.samples[k],
                    "instance_token": instance,
                    "visibility_token": str(frames[k]["visibility"][number]),
                    "attribute_tokens": [token(self.seed, "attribute", track["attribute"])]
                    if track["attribute"]
                    else [],
                    "translation": frames[k]["boxes"][number]["translation"],
                    "size": track["size"],
                    "rotation": frames[k]["boxes"][number]["rotation"],
                    "num_lidar_pts": frames[k]["points"][number],
                    "num_radar_pts": 0,
                }
            )
        self.tables["sample_annotation"] += _chained(rows)
        self.tables["instance"].append(
            {
                "token": instance,
                "category_token": token(self.seed, "category", track["category"]),
                "nbr_annotations": len(rows),
                "first_annotation_token": rows[0]["token"],
                "last_annotation_token": rows[-1]["token"],
            }
        )


def _chained(rows: Rows) -> Rows:
    """Link rows in their order."""
    for row in rows:
        row["prev"], row["next"] = "", ""
    for one, other in pairwise(rows):
        one["next"], other["prev"] = other["token"], one["token"]
    return rows
