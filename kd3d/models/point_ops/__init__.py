"""Operations on points in plain torch: what mmcv 2.1 has as CUDA kernels alone.

Each function returns what the CUDA kernel of the same name is defined to return, ties, padding and
empty cases included; only the rounding of distances may differ. `kd3d.compat` lets mmcv call them
for tensors on the CPU. Coordinates are in metres, LiDAR frame; indices are int32, as mmcv's.
"""

from kd3d.models.point_ops.boxes import (
    points_in_boxes_all,
    points_in_boxes_part,
    roipoint_pool3d,
)
from kd3d.models.point_ops.gathering import (
    gather_points,
    gather_points_backward,
    group_points,
    group_points_backward,
    three_interpolate,
    three_interpolate_backward,
)
from kd3d.models.point_ops.neighbours import ball_query, knn, three_nn
from kd3d.models.point_ops.overlap import (
    boxes_iou3d,
    boxes_overlap_bev,
    nms3d,
    nms3d_normal,
    nms_rotated,
)
from kd3d.models.point_ops.sampling import furthest_point_sample, furthest_point_sample_with_dist

__all__ = [
    "ball_query",
    "boxes_iou3d",
    "boxes_overlap_bev",
    "furthest_point_sample",
    "furthest_point_sample_with_dist",
    "gather_points",
    "gather_points_backward",
    "group_points",
    "group_points_backward",
    "knn",
    "nms3d",
    "nms3d_normal",
    "nms_rotated",
    "points_in_boxes_all",
    "points_in_boxes_part",
    "roipoint_pool3d",
    "three_interpolate",
    "three_interpolate_backward",
    "three_nn",
]
