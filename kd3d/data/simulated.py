"""A folder of simulated data: its simulator left a manifest there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kd3d.errors import UserError
from kd3d.fileio import read_json

MANIFEST = "simulated.json"


def is_simulated(root: str | os.PathLike[str]) -> bool:
    """Return whether a data set's folder holds simulated data."""
    return (Path(root) / MANIFEST).is_file()


def simulated_facts(root: str | os.PathLike[str], split: str = "val") -> dict[str, Any]:
    """Return what records state about prepared simulated data.

    Args:
        root: The data set's folder, prepared for mmdet3d.
        split: The one on which results are measured; ``train`` is trained on.

    Raises:
        UserError: It is not simulated, or not prepared.
    """
    from mmengine import load

    root = Path(root)
    manifest = read_json(root / MANIFEST)
    frames = {}
    for name in (split, "train"):
        infos = sorted(root.glob(f"*_infos_{name}.pkl"))
        if len(infos) != 1:
            raise UserError(f"{len(infos)} files *_infos_{name}.pkl", root, "run kd3d prepare")
        frames[name] = len(load(infos[0])["data_list"])
    return {
        "root": str(root),
        "simulated": True,
        "split": split,
        "train_split": "train",
        "frames": frames[split],
        "train_frames": frames["train"],
        "data_seed": manifest["seed"],
    }
