"""How a sample looked when its teacher's knowledge was stored, to compare with a training's."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from kd3d.cache.record import Arrays

TOLERANCE = 1e-3  # metres, radians, factors: other machines round otherwise, no more
_NUMBERS = ("pcd_horizontal_flip", "pcd_vertical_flip", "pcd_scale_factor")


def appearance(sample: Any) -> Arrays:
    """Return a data sample's name (hashed), augmentation record, boxes and labels.

    Args:
        sample: An mmdet3d data sample with ground truth.
    """
    meta = sample.metainfo
    record = [float(meta.get(key, 0.0)) for key in _NUMBERS]
    for key, default in (("pcd_rotation", np.eye(3)), ("pcd_trans", np.zeros(3))):
        record += np.asarray(meta.get(key, default), dtype=np.float64).ravel().tolist()
    truth = getattr(sample, "gt_instances_3d", None)
    boxes = np.zeros((0, 8), dtype=np.float32)
    if truth is not None and "bboxes_3d" in truth:
        tensor = truth.bboxes_3d.tensor[:, :7].cpu().numpy()
        labels = truth.labels_3d.cpu().numpy()
        boxes = np.concatenate([tensor, labels[:, None]], 1, dtype=np.float32)
    name = zlib.crc32(str(meta.get("sample_idx")).encode())
    return {
        "name": np.array([name], dtype=np.uint32),
        "motion": np.array(record, dtype=np.float32),
        "truth": boxes,
    }


def same(first: Arrays, second: Arrays) -> bool:
    """Whether two appearances agree up to rounding."""
    if first["name"] != second["name"] or first["truth"].shape != second["truth"].shape:
        return False
    return all(
        bool((np.abs(first[key] - second[key]) <= TOLERANCE).all()) for key in ("motion", "truth")
    )
