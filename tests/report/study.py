"""A small study made by code: a KITTI folder, three runs with predictions, logs and records."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from PIL import Image

from kd3d.data.kitti_files import Labels, read_labels, write_labels, write_points
from kd3d.evaluation.kitti_ap import evaluate_kitti
from kd3d.report.record import RunRecord

FRAMES = [f"{i:06d}" for i in range(8)]
CALIB = """P2: 700 0 320 0 0 700 96 0 0 0 1 0
R0_rect: 1 0 0 0 1 0 0 0 1
Tr_velo_to_cam: 0 -1 0 0 0 0 -1 0 1 0 0 0
"""
SIZES = {"Car": (1.5, 1.7, 4.2), "Pedestrian": (1.75, 0.6, 0.7), "Cyclist": (1.7, 0.6, 1.8)}
ROLES = {"teacher": (0.06, 0.95), "baseline": (0.3, 0.7), "distilled": (0.16, 0.85)}


def labels_of(frame: int) -> Labels:
    """Return a few labels of every class in front of the car."""
    rng = np.random.default_rng(frame)
    rows, names = [], []
    for name, (height, width, length) in SIZES.items():
        for _ in range(rng.integers(1, 5)):
            x, z = rng.uniform(-8, 8), rng.uniform(12, 45)
            top, left = 96 + 700 * (1.7 - height) / z, 320 + 700 * (x - width) / z
            bbox = [left, top, left + 1400 * width / z, 96 + 700 * 1.7 / z]
            row = [0, 0, rng.uniform(-3, 3), *bbox, height, width, length, x, 1.7, z]
            rows.append([*row, rng.uniform(-3, 3)])
            names.append(name)
    return Labels.from_table(np.array(names, dtype=object), np.array(rows))


def make_data(root: Path) -> Path:
    """Write a KITTI folder with eight frames and return it."""
    training = root / "training"
    for folder in ("calib", "image_2", "label_2", "velodyne"):
        (training / folder).mkdir(parents=True)
    for index, frame in enumerate(FRAMES):
        rng = np.random.default_rng(index)
        points = rng.uniform([0, -25, -1.7, 0], [60, 25, -1.4, 1], (4000, 4))
        write_points(training / "velodyne" / f"{frame}.bin", points)
        (training / "calib" / f"{frame}.txt").write_text(CALIB)
        write_labels(training / "label_2" / f"{frame}.txt", labels_of(index))
        shade = np.linspace(60, 200, 640 * 192 * 3).reshape(192, 640, 3).astype(np.uint8)
        Image.fromarray(shade).save(training / "image_2" / f"{frame}.png")
    return root


def detections(labels: Labels, noise_m: float, keep: float, seed: int) -> Labels:
    """Return labels moved by noise, some lost, with scores."""
    rng = np.random.default_rng(seed)
    found = labels[rng.random(len(labels)) < keep]
    found.location = found.location + rng.normal(0, noise_m, found.location.shape)
    found.score = rng.uniform(0.35, 1, len(found))
    return found


def write_log(path: Path, role: str, iterations: int) -> None:
    """Write a scalars.json such as mmengine's."""
    lines = []
    for step in range(10, iterations + 1, 10):
        fall = 2 * math.exp(-step / 300) + 0.3 + 0.05 * math.sin(step)
        row = {"lr": 0.003 * math.sin(math.pi * step / iterations), "data_time": 0.01}
        row |= {"task.loss_heatmap": 0.6 * fall, "task.loss_bbox": 0.4 * fall}
        if role == "distilled":
            row |= {"kd.response.loss": 0.5 * fall, "kd.response.weight": 10.0}
            row |= {"kd.bev.loss": 0.2 * fall, "kd.bev.weight": 1 - step / iterations}
        row["loss"] = sum(v for k, v in row.items() if "loss" in k)
        lines.append(json.dumps(row | {"time": 0.05, "iter": step, "step": step}))
    lines.append(json.dumps({"Car/3D": 40.0, "step": iterations}))  # an evaluation's line
    path.write_text("\n".join(lines) + "\n")


def make_run(folder: Path, root: Path, role: str, frames: list[str], **changes: object) -> Path:
    """Write one run folder and return it."""
    noise_m, keep = ROLES[role]
    names, found = folder / "predictions", []
    names.mkdir(parents=True)
    truth = [read_labels(root / "training" / "label_2" / f"{f}.txt") for f in frames]
    for index, frame in enumerate(frames):
        objects = truth[index][truth[index].name != "DontCare"]
        found.append(detections(objects, noise_m, keep, index))
        write_labels(names / f"{frame}.txt", found[-1])
    write_log(folder / "scalars.json", role, 900)
    student = role != "teacher"
    values = {
        "name": role,
        "role": role,
        "result": evaluate_kitti(truth, found, curves=True),
        "data": {"root": str(root), "simulated": True, "split": "val", "frames": len(frames)},
        "seed": 0,
        "iterations": 900,
        "batch_size": 4,
        "method": "response+fitnets" if role == "distilled" else None,
        "config": f"configs/demo/{role}.py",
        "config_text_sha256": "ab" * 32,
        "wall_time_s": {"train": 51.3 if student else 160.2, "test": 1.0},
        "step_time_s": 0.055 if student else 0.18,
        "params": 51_234 if student else 1_050_123,
        "macs": 109_000_000 if student else 1_360_000_000,
        "latency_ms": {"median": 14.2 if student else 48.0, "threads": 2},
        "checkpoint_bytes": 220_000 if student else 4_200_000,
        "checkpoint_sha256": "cd" * 32,
        "versions": {"python": "3.11.2", "torch": "2.13.0", "mmdet3d": "1.4.0"},
        "commit": "0123abc",
        "dirty": False,
        "machine": {"cpu": "AMD EPYC", "cores": 2, "memory_gb": 8},
        "command": f"kd3d train configs/demo/{role}.py",
        "started": "2026-11-24T15:00:00",
        "supervision": "3D boxes",
        "teacher": {"car_3d": 61.2, "labels_as_predictions": {"Car": 100.0}}
        if role == "distilled"
        else None,
    }
    RunRecord.from_dict(values | changes).save(folder)
    return folder


def make_study(
    folder: Path, root: Path | None = None, frames: list[str] | None = None
) -> list[Path]:
    """Write a data set (unless `root` names one) and three run folders; return those."""
    root = root or make_data(folder / "data")
    return [make_run(folder / role, root, role, frames or FRAMES) for role in ROLES]
