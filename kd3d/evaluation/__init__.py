"""Scores on any device: box overlap, KITTI average precision."""

from kd3d.evaluation.rotated_iou import box_iof, box_iou

__all__ = ["box_iof", "box_iou"]
