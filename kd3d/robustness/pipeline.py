"""Where in a test pipeline a corruption goes."""

from __future__ import annotations

import copy
from typing import Any

from kd3d.core.probe import POINTS
from kd3d.errors import UserError
from kd3d.robustness.severities import KINDS

_POINT_LOADERS = (
    "LoadKittiPoints", "LoadPointsFromFile", "LoadPointsFromMultiSweeps", "LoadSweeps",
)  # fmt: skip
_IMAGE_LOADERS = ("LoadSurroundImages",)


def corrupted_pipeline(
    pipeline: list[dict[str, Any]], name: str, transform: dict[str, Any], where: object
) -> list[dict[str, Any]]:
    """Return the pipeline with a corruption after the last loader of what it spoils.

    Args:
        pipeline: Of the test set.
        name: See `kd3d.robustness.severities.KINDS`.
        transform: Its config.
        where: For messages.

    Raises:
        UserError: The pipeline has no such loader.
    """
    loaders = _POINT_LOADERS if KINDS[name].reads == POINTS else _IMAGE_LOADERS
    places = [i for i, step in enumerate(pipeline) if step["type"] in loaders]
    if not places:
        raise UserError(
            f"its test pipeline has none of {', '.join(loaders)}, so {name!r} cannot be put in",
            where,
        )
    pipeline = copy.deepcopy(list(pipeline))
    pipeline.insert(places[-1] + 1, transform)
    return pipeline
