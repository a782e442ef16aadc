"""A tiny KITTI folder made by code: random points, a few boxes, a plain image."""

from pathlib import Path

import numpy as np
from PIL import Image

CALIBRATION = """P0: 700 0 600 0 0 700 180 0 0 0 1 0
P1: 700 0 600 -380 0 700 180 0 0 0 1 0
P2: 700 0 600 45 0 700 180 0.2 0 0 1 0.003
P3: 700 0 600 -330 0 700 180 2.2 0 0 1 0.003
R0_rect: 1 0 0 0 1 0 0 0 1
Tr_velo_to_cam: 0 -1 0 0.01 0 0 -1 -0.08 1 0 0 -0.27
Tr_imu_to_velo: 1 0 0 -0.8 0 1 0 0.3 0 0 1 -0.8
"""
CAR = "Car 0.00 0 -1.50 550 160 640 220 1.50 1.60 4.00 1.00 1.60 14.00 -1.40\n"
CYCLIST = "Cyclist 0.20 1 0.30 300 150 330 200 1.70 0.60 1.80 -6.00 1.50 20.00 0.50\n"
FAR_VAN = "Van 0.60 2 1.00 0 180 20 190 2.20 1.90 5.00 -30.00 1.80 45.00 3.10\n"
DONT_CARE = "DontCare -1 -1 -10 700 160 720 180 -1 -1 -1 -1000 -1000 -1000 -10\n"
# a DontCare, an empty frame, ids with gaps
LABELS = {"000003": CAR + CYCLIST + DONT_CARE, "000010": "", "000025": CAR + FAR_VAN, "000031": CAR}
SPLITS = {"train": ["000003", "000010", "000025"], "val": ["000031"], "test": []}
SIZE = (1200, 360)


def make_kitti(root: Path, testing: bool = False) -> Path:
    """Write the folder: train 3 frames (one without objects), val 1, test 0 or 1."""
    rng = np.random.default_rng(7)
    for name, text in LABELS.items():
        _write_frame(root / "training", name, rng)
        _file(root / "training/label_2", name, ".txt").write_text(text)
    splits = dict(SPLITS)
    if testing:
        _write_frame(root / "testing", "000002", rng)
        splits["test"] = ["000002"]
    (root / "ImageSets").mkdir()
    for split, names in splits.items():
        (root / "ImageSets" / f"{split}.txt").write_text("".join(n + "\n" for n in names))
    return root


def _write_frame(folder: Path, name: str, rng: np.random.Generator) -> None:
    ground = rng.uniform([2, -25, -1.8, 0], [60, 25, -1.6, 1], (3000, 4))
    around = rng.uniform([11, -4, -2, 0], [18, 2, 1, 1], (2000, 4))
    behind = rng.uniform([-30, -9, -2, 0], [-2, 9, 1, 1], (500, 4))
    points = np.concatenate([ground, around, behind]).astype("<f4")
    points.tofile(_file(folder / "velodyne", name, ".bin"))
    _file(folder / "calib", name, ".txt").write_text(CALIBRATION)
    Image.new("RGB", SIZE, (90, 110, 130)).save(_file(folder / "image_2", name, ".png"))


def _file(folder: Path, name: str, suffix: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder / (name + suffix)
