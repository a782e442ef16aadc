"""What terms share that look where a teacher has found something."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kd3d.core.spec import FeatureSpec
from kd3d.core.taps import BOXES
from kd3d.core.term import beside


def boxes_tap(branch: str, tap: str) -> str:
    """Return the address of the decoded boxes of the model that a tap belongs to."""
    return f"{branch}:{beside(tap, BOXES)}"


def surest(
    detections: list[dict[str, Tensor]],
    most: int,
    specs: tuple[FeatureSpec, ...],
    device: torch.device,
) -> list[dict[str, Tensor]]:
    """Return a teacher's surest boxes of each sample whose centres lie in all maps.

    Args:
        detections: What the tap ``boxes`` holds.
        most: Of a sample.
        specs: Of the maps; empty: boxes count wherever they are.
        device: Of what is returned.

    Returns:
        A dict a sample: ``boxes`` (N, >=7), ``scores`` (N,), ``labels`` (N,), the surest first.
    """
    return [
        _surest({key: value.to(device) for key, value in found.items()}, most, specs)
        for found in detections
    ]


def _surest(found: dict[str, Any], most: int, specs: tuple[FeatureSpec, ...]) -> dict[str, Tensor]:
    centres = found["boxes"][:, :2]
    keep = (found["boxes"][:, 3:6] > 0).all(1)
    for spec in specs:
        extent = spec.grid[0]
        keep &= (centres >= centres.new_tensor(extent[:2])).all(1)
        keep &= (centres < centres.new_tensor(extent[2:])).all(1)
    kept = {key: value[keep] for key, value in found.items()}
    order = kept["scores"].argsort(descending=True)[:most]
    return {key: value[order] for key, value in kept.items()}
