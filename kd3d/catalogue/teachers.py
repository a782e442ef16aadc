"""Teachers with published weights, as rows."""

from __future__ import annotations

from typing import Any

from kd3d.models.zoo import ZOO, zoo


def teacher_rows() -> list[dict[str, Any]]:
    """Return a row a detector of mmdet3d's index: checkpoint, config, weights, metrics."""
    return [
        {
            "name": model.name,
            "checkpoint": f"{ZOO}::{model.name}",
            "config": model.config,
            "modality": [model.modality],
            "data": list(model.metrics),
            "published": model.metrics,
            "weights": model.weights,
            "fetched": model.file.is_file(),
        }
        for model in zoo().values()
    ]
