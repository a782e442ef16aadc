"""The geometric augmentation of a sample as one matrix, from the record that mmdet3d keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kd3d.errors import UserError

_FLIPS = {"HF": np.diag([1.0, -1.0, 1.0, 1.0]), "VF": np.diag([-1.0, 1.0, 1.0, 1.0])}
_NEEDS = {"R": "pcd_rotation", "S": "pcd_scale_factor", "T": "pcd_trans"}


def augmentation_matrix(record: Mapping[str, Any]) -> np.ndarray:
    """Return the (4, 4) float64 matrix M of a sample's augmentation: ``p' = M p``, LiDAR frame.

    ``RandomFlip3D`` and ``GlobalRotScaleTrans`` write no matrix. They write their order in
    ``transformation_3d_flow`` (R rotate, S scale, T translate, HF flips y, VF flips x) and their
    amounts in ``pcd_rotation`` (3, 3, for row vectors: its transpose acts on columns),
    ``pcd_scale_factor`` and ``pcd_trans`` (3,) in metres.

    Args:
        record: A pipeline's results or a data sample's metainfo; without a flow: the identity.

    Raises:
        UserError: An operation that is not recorded in full, or one done twice, of which mmdet3d
            keeps the last amount only.
    """
    flow = list(record.get("transformation_3d_flow") or [])
    matrix = np.eye(4)
    for operation in flow:
        matrix = _step(operation, record, flow) @ matrix
    return matrix


def sample_augmentation(record: Mapping[str, Any]) -> np.ndarray:
    """Return the (4, 4) matrix of a packed sample: its own, or composed from mmdet3d's record.

    Args:
        record: Metainfo; ``lidar_aug_matrix`` is written by ``PackBranches``, and by transforms
            that keep a matrix themselves.
    """
    known = record.get("lidar_aug_matrix")
    return augmentation_matrix(record) if known is None else np.asarray(known, dtype=np.float64)


def refuse_pasted(results: Mapping[str, Any], who: str, why: str) -> None:
    """Raise UserError where objects of a data base were pasted into the scene.

    Args:
        results: A pipeline's.
        who: The transform that cannot go on.
        why: What is amiss.
    """
    annotated = len((results.get("ann_info") or {}).get("gt_bboxes_3d", ()))
    if len(results.get("gt_bboxes_3d", ())) > annotated:
        raise UserError(f"objects were pasted into the scene, {why}", who, "leave ObjectSample out")


def full_matrix(matrix: Any) -> np.ndarray:
    """Return a matrix of 3x3, 3x4 or 4x4 as 4x4, float64."""
    given, whole = np.asarray(matrix, dtype=np.float64), np.eye(4)
    whole[: given.shape[0], : given.shape[1]] = given
    return whole


def transform_points(matrix: np.ndarray, xyz: np.ndarray) -> np.ndarray:
    """Return `xyz` (N, 3) in metres moved by `matrix` (4, 4), in float64."""
    return xyz @ matrix[:3, :3].T + matrix[:3, 3]


def _step(operation: str, record: Mapping[str, Any], flow: list[str]) -> np.ndarray:
    if operation in _FLIPS:
        return _FLIPS[operation]
    if operation not in _NEEDS:
        raise UserError(f"unknown operation {operation!r}", "transformation_3d_flow")
    if flow.count(operation) > 1:
        raise UserError(
            f"the sample is augmented twice ({', '.join(flow)}), mmdet3d records the last amount",
            "pipeline",
            "use one GlobalRotScaleTrans",
        )
    amount = record.get(_NEEDS[operation])
    if amount is None:
        raise UserError(f"{operation} without {_NEEDS[operation]}", "transformation_3d_flow")
    step, value = np.eye(4), np.asarray(amount, dtype=np.float64)
    if operation == "R":
        step[:3, :3] = value.T
    elif operation == "S":
        step[:3, :3] *= value
    else:
        step[:3, 3] = value.reshape(3)
    return step
