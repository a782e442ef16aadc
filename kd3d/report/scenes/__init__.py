"""The evaluated frames of a data set with labels, clouds, pictures and runs' boxes."""

from __future__ import annotations

import os
from pathlib import Path

from kd3d.report.record import RunRecord
from kd3d.report.scenes.kitti import KittiScenes
from kd3d.report.scenes.nuscenes import NuScenesScenes
from kd3d.report.scenes.scenes import Boxes, Scenes

__all__ = ["Boxes", "Scenes", "scenes_of"]

_KINDS: dict[str, type[Scenes]] = {"kitti": KittiScenes, "nuscenes": NuScenesScenes}


def scenes_of(run: RunRecord, override: str | os.PathLike[str] | None = None) -> Scenes | None:
    """Return the scenes of a run's data set, or None where its folder is not found.

    Args:
        run: Its record names the folder, as given or beside the run folder.
        override: The folder, where it has moved.
    """
    kind = _KINDS[run.benchmark.name]
    given = Path(override) if override is not None else Path(str(run.data["root"]))
    candidates = [given] + ([run.folder / given] if run.folder else [])
    root = next((path for path in candidates if kind.is_root(path)), None)
    return None if root is None else kind(root, str(run.data["split"]))
