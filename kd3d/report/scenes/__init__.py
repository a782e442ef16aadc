"""The evaluated frames of a data set and runs' boxes in them."""

from __future__ import annotations

import os
from pathlib import Path

from kd3d.data.frames import Boxes, KittiFolder, NuScenesFolder
from kd3d.report.record import RunRecord
from kd3d.report.scenes.kitti import KittiScenes
from kd3d.report.scenes.nuscenes import NuScenesScenes
from kd3d.report.scenes.scenes import Scenes

__all__ = ["Boxes", "Scenes", "scenes_of"]


def scenes_of(run: RunRecord, override: str | os.PathLike[str] | None = None) -> Scenes | None:
    """Return the scenes of a run's data set, or None where its folder is not found.

    Args:
        run: Its record names the folder, as given or beside the run folder.
        override: The folder, where it has moved.

    Raises:
        UserError: A nuScenes folder without the split's info file.
    """
    given = Path(override) if override is not None else Path(str(run.data["root"]))
    candidates = [given] + ([run.folder / given] if run.folder else [])
    nuscenes = run.benchmark.name == "nuscenes"
    layout = NuScenesFolder if nuscenes else KittiFolder
    root = next((path for path in candidates if layout.is_root(path)), None)
    if root is None:
        return None
    if nuscenes:
        name = NuScenesFolder.info_name(str(run.data["split"]))
        return NuScenesScenes(NuScenesFolder(root, name))
    return KittiScenes(KittiFolder(root))
