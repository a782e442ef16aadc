"""From a point cloud to the pillars that the graph reads."""

from __future__ import annotations

from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]


def pillar_inputs(points: np.ndarray, spec: dict[str, Any]) -> Arrays:
    """Return the graph's inputs of a cloud.

    Args:
        points: (N, C) x, y, z in metres in the LiDAR's frame, then what the model was trained with
            (KITTI: reflectance; nuScenes: intensity and the sweep's age in seconds).
        spec: ``preprocess`` of ``model.json``.

    Returns:
        ``pillars`` (P, M, D) float32, decorated; ``cells`` (P,) int64, row * columns + column.

    Raises:
        ValueError: Another number of values a point.
    """
    points = np.asarray(points, dtype=np.float32)
    if points.ndim != 2 or points.shape[1] != spec["point_values"]:
        raise ValueError(f"points {points.shape}, wanted (N, {spec['point_values']})")
    table, counts, place = voxelise(points, spec)
    return {
        "pillars": decorate(table, counts, place, spec),
        "cells": place[:, 1].astype(np.int64) * spec["grid"][0] + place[:, 0],
    }


def voxelise(points: np.ndarray, spec: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sort points into pillars in the order in which their first point comes.

    Points outside the range, pillars after ``max_pillars`` and points after the first
    ``max_points`` of a pillar are left out, as mmcv's hard voxelisation does.

    Returns:
        (P, M, C) points padded with zeros, (P,) their numbers, (P, 2) column and row.
    """
    low, high = np.split(np.asarray(spec["range"], dtype=np.float32), 2)
    size = np.asarray(spec["voxel_size"], dtype=np.float32)
    grid = np.round((high - low) / size).astype(np.int64)
    place = np.floor((points[:, :3] - low) / size).astype(np.int64)
    inside = ((place >= 0) & (place < grid)).all(1)
    points, place = points[inside], place[inside, :2]
    flat = place[:, 1] * grid[0] + place[:, 0]
    _, first, pillar = np.unique(flat, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")  # pillars by their first point
    number = np.empty(len(order), dtype=np.int64)
    number[order] = np.arange(len(order))
    pillar = number[pillar]
    by_pillar = np.argsort(pillar, kind="stable")
    starts = np.searchsorted(pillar[by_pillar], np.arange(len(order)))
    rank = np.empty(len(points), dtype=np.int64)
    rank[by_pillar] = np.arange(len(points)) - starts[pillar[by_pillar]]
    kept = (pillar < spec["max_pillars"]) & (rank < spec["max_points"])
    pillars = min(len(order), spec["max_pillars"])
    table = np.zeros((pillars, spec["max_points"], points.shape[1]), dtype=np.float32)
    table[pillar[kept], rank[kept]] = points[kept]
    counts = np.bincount(pillar[kept], minlength=pillars)
    return table, counts, place[first[order[:pillars]]]


def decorate(
    table: np.ndarray, counts: np.ndarray, place: np.ndarray, spec: dict[str, Any]
) -> np.ndarray:
    """Add to each point its offsets from the pillar's mean point and from the pillar's middle.

    Padding stays zero. ``legacy``: the first three values are the offsets from the middle as well,
    as checkpoints of mmdet3d's ``PillarFeatureNet(legacy=True)`` expect.

    Returns:
        (P, M, D) float32.
    """
    parts, xyz = [table], table[:, :, :3]
    if spec["with_mean"]:
        mean = xyz.sum(1, keepdims=True) / counts[:, None, None].astype(np.float32)
        parts.append(xyz - mean)
    if spec["with_middle"]:
        size = np.asarray(spec["voxel_size"], dtype=np.float32)
        offset = np.asarray(spec["middle_offset"], dtype=np.float32)
        index = np.concatenate([place, np.zeros_like(place[:, :1])], 1).astype(np.float32)
        centred = xyz - (index * size + offset)[:, None]
        if spec["legacy"]:
            parts[0] = np.concatenate([centred, table[:, :, 3:]], 2)
        parts.append(centred)
    if spec["with_distance"]:
        parts.append(np.linalg.norm(parts[0][:, :, :3], axis=2, keepdims=True))
    filled = np.arange(table.shape[1]) < counts[:, None]
    return (np.concatenate(parts, 2) * filled[:, :, None]).astype(np.float32)
