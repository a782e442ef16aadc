"""What a simulation needs: packages, and a folder, made, recognised by its manifest or refused."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kd3d.data.simulated import MANIFEST
from kd3d.errors import UserError
from kd3d.fileio import read_json, write_json


def need(*modules: str) -> None:
    """Refuse to go on without these packages.

    Raises:
        UserError: One is not installed.
    """
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise UserError(f"{module} is not installed", "kd3d simulate", "run `make setup`")


def claim_folder(
    root: Path,
    manifest: dict[str, Any],
    keys: Sequence[str],
    parts: Sequence[str],
    overwrite: bool,
) -> None:
    """Write the manifest into a new folder, or see that the one there agrees.

    Args:
        root: The folder.
        manifest: What the data set is; ``by`` is the command that makes it.
        keys: Entries that must be equal for the files there to be kept.
        parts: Folders that hold the data set's files; removed to overwrite another kind.
        overwrite: Whether another kind may be replaced.

    Raises:
        UserError: Something else lies there, or another kind of simulated data.
    """
    path = root / MANIFEST
    if root.exists() and not root.is_dir():
        raise UserError("not a folder", root, "give another --out")
    if path.is_file():
        found = read_json(path)
        found = found if isinstance(found, dict) else {}
        if found.get("by") != manifest["by"]:
            raise UserError(f"made by {found.get('by')}", root, "give another --out")
        other = [key for key in keys if found.get(key) != manifest[key]]
        if not other:
            return
        if not overwrite:
            what = "; ".join(f"{key} {found.get(key)}, asked {manifest[key]}" for key in other)
            raise UserError(
                f"holds simulated data of another kind ({what})",
                root,
                "give another --out or --overwrite",
            )
        path.unlink()
        for name in parts:
            shutil.rmtree(root / name, ignore_errors=True)
    elif root.exists() and any(root.iterdir()):
        raise UserError(f"not empty, and holds no {MANIFEST}", root, "give a new folder as --out")
    write_json(path, manifest)
