"""All frames of an evaluation as flat columns, with the overlaps of the pairs within a frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from kd3d.data.kitti_files import Labels
from kd3d.evaluation.kitti_rules import METRICS
from kd3d.evaluation.rotated_iou import overlaps_by_frame


@dataclass
class FramePairs:
    """Labels and detections of F frames, and how they overlap.

    Attributes:
        labels: The G rows of all label files in order.
        detections: The D rows of all result files in order.
        label_start: (F + 1,) int64; frame f holds labels ``label_start[f]:label_start[f + 1]``.
        detection_start: (F + 1,) likewise.
        area_start: (F + 1,) likewise for the DontCare areas, counted apart.
        iou: By metric, one value for each detection and label of a frame, 0 to 1: frame after
            frame, detection after detection.
        covered: By metric, the share of each detection inside each DontCare area of its frame,
            in the same order.
    """

    labels: Labels
    detections: Labels
    label_start: np.ndarray
    detection_start: np.ndarray
    area_start: np.ndarray
    iou: dict[str, np.ndarray]
    covered: dict[str, np.ndarray]


def build_pairs(ground_truth: Sequence[Labels], detections: Sequence[Labels]) -> FramePairs:
    """Concatenate the frames and compute every overlap once."""
    labels, label_start = _concatenate(ground_truth)
    found, found_start = _concatenate(detections)
    is_area = labels.name == "DontCare"
    areas = labels[is_area]
    area_start = np.concatenate([[0], np.cumsum(is_area)])[label_start]
    iou, covered = {}, {}
    for metric in METRICS:
        found_boxes = _boxes(found, metric)
        label_boxes, area_boxes = _boxes(labels, metric), _boxes(areas, metric)
        how = (metric == "2D", metric == "3D")
        iou[metric] = overlaps_by_frame(
            found_boxes, found_start, label_boxes, label_start, *how, False
        )
        covered[metric] = overlaps_by_frame(
            found_boxes, found_start, area_boxes, area_start, *how, True
        )
    return FramePairs(labels, found, label_start, found_start, area_start, iou, covered)


def camera_boxes(labels: Labels) -> np.ndarray:
    """Return (N, 7) float64 boxes for `rotated_iou`, in the camera's ground plane.

    The plane's axes are the camera's x and z, height is -y, so the yaw is -rotation_y.
    """
    height, width, length = labels.dimensions.T
    x, y, z = labels.location.T
    return np.column_stack([x, z, -y, length, width, height, -labels.rotation_y])


def _boxes(labels: Labels, metric: str) -> np.ndarray:
    boxes = labels.bbox if metric == "2D" else camera_boxes(labels)
    return np.ascontiguousarray(boxes, dtype=np.float64)


def _concatenate(frames: Sequence[Labels]) -> tuple[Labels, np.ndarray]:
    columns = [np.concatenate([getattr(f, c.name) for f in frames]) for c in fields(Labels)]
    start = np.concatenate([[0], np.cumsum([len(f) for f in frames])]).astype(np.int64)
    return Labels(*columns), start
